import { X509Certificate } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { expect, test } from 'vitest';
import { systemClock } from '../../shared/clock.ts';
import { openCertificates } from '../../simulators/certificates.ts';
import { temporaryFolder } from '../temporary-folder.ts';

test('openCertificates() makes a CA and a server certificate that a TLS client accepts for every name', async () => {
  await using folder = await temporaryFolder();
  const { caPem, certPem, keyPem } = await openCertificates(folder.path);
  const server = tls.createServer({ cert: certPem, key: keyPem }, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    for (const name of ['localhost', '127.0.0.1', '::1', 'my-hub.azure-devices.net', hostname().toLowerCase()]) {
      const authorized = await new Promise<boolean>((resolve, reject) => {
        const socket = tls.connect({
          host: '127.0.0.1',
          port: address.port,
          ca: caPem,
          servername: /^[\d:.]+$/.test(name) ? '' : name,
          checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(name, certificate),
        });
        socket.once('secureConnect', () => {
          socket.destroy();
          resolve(socket.authorized);
        });
        socket.once('error', reject);
      });
      expect({ name, authorized }).toEqual({ name, authorized: true });
    }
  } finally {
    server.close();
  }
});

test('openCertificates() gives the same certificates again when they are fresh', async () => {
  await using folder = await temporaryFolder();
  const first = await openCertificates(folder.path);
  expect(await openCertificates(folder.path)).toEqual(first);
});

test('openCertificates() keeps private keys from others', async () => {
  await using folder = await temporaryFolder();
  const { keyFile } = await openCertificates(folder.path);
  expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
  expect((await stat(join(folder.path, 'ca.key.pem'))).mode & 0o777).toBe(0o600);
});

test('openCertificates() renews the server certificate before it ends and keeps the CA', async () => {
  await using folder = await temporaryFolder();
  const first = await openCertificates(folder.path);
  const later = { ...systemClock, nowMs: () => Date.now() + 380 * 24 * 60 * 60 * 1000 };
  const second = await openCertificates(folder.path, { clock: later });
  expect(second.caPem).toBe(first.caPem);
  expect(second.certPem).not.toBe(first.certPem);
  expect(new X509Certificate(second.certPem).verify(new X509Certificate(first.caPem).publicKey)).toBe(true);
});

test('openCertificates() makes a server certificate anew that another CA signed', async () => {
  await using one = await temporaryFolder();
  await using other = await temporaryFolder();
  const first = await openCertificates(one.path);
  const second = await openCertificates(other.path);
  await writeFile(join(one.path, 'ca.pem'), second.caPem);
  await writeFile(join(one.path, 'ca.key.pem'), await readFile(join(other.path, 'ca.key.pem')));
  const third = await openCertificates(one.path);
  expect(third.caPem).toBe(second.caPem);
  expect(third.certPem).not.toBe(first.certPem);
});

test('openCertificates() says which file is damaged and what to do', async () => {
  await using folder = await temporaryFolder();
  const { certFile } = await openCertificates(folder.path);
  await writeFile(certFile, 'nonsense');
  await expect(openCertificates(folder.path)).rejects.toMatchObject({
    code: 'FILE_UNREADABLE',
    message: expect.stringContaining(certFile),
    next: expect.stringContaining('Remove'),
  });
});
