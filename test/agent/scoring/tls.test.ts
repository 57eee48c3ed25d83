import { copyFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type SecureContextOptions } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { startScoring } from './scoring-rig.ts';

/** Path of a certificate of the test data, or of its key. */
function certificateFile(name: 'client' | 'old' | 'renewed' | 'stranger'): string {
  return fileURLToPath(new URL(`../../data/certificates/${name}.pem`, import.meta.url));
}

function keyFile(name: 'client' | 'old' | 'renewed' | 'stranger'): string {
  return certificateFile(name).replace('.pem', '.key.pem');
}

function identity(name: 'client' | 'stranger'): { cert: string; key: string } {
  return { cert: readFileSync(certificateFile(name), 'utf8'), key: readFileSync(keyFile(name), 'utf8') };
}

/** Gives the common name that a server shows now. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

function get(port: number, client: SecureContextOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    httpsRequest({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false, ...client }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}

test('a server speaks TLS 1.2 and up, and shows a renewed certificate without a restart', async () => {
  await using folder = await temporaryFolder();
  const [certificate, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
  await copyFile(certificateFile('old'), certificate);
  await copyFile(keyFile('old'), key);
  const environment = { MODELFERRY_TLS_CERTIFICATE_FILE: certificate, MODELFERRY_TLS_KEY_FILE: key };
  await using rig = await startScoring({ environment });
  expect(await get(rig.server.port, {})).toBe(200);
  expect(await shownBy(rig.server.port)).toBe('old');
  // For a moment the new certificate lies beside the old key: that pair must not be taken.
  await copyFile(certificateFile('renewed'), certificate);
  await copyFile(keyFile('renewed'), key);
  await until(async () => (await shownBy(rig.server.port)) === 'renewed');
  const tooOld = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
  await expect(get(rig.server.port, tooOld)).rejects.toThrow(/protocol version|ECONNRESET/);
});

test('with an authority for clients, only those that show a certificate of it pass', async () => {
  await using rig = await startScoring({
    environment: {
      MODELFERRY_TLS_CERTIFICATE_FILE: certificateFile('old'),
      MODELFERRY_TLS_KEY_FILE: keyFile('old'),
      MODELFERRY_TLS_CLIENT_CA_FILE: certificateFile('client'),
    },
  });
  expect(await get(rig.server.port, identity('client'))).toBe(200);
  await expect(get(rig.server.port, {})).rejects.toThrow(/certificate required|ECONNRESET|hang up/);
  await expect(get(rig.server.port, identity('stranger'))).rejects.toThrow(/alert|ECONNRESET|hang up/);
});

test('a certificate without its key ends the start', async () => {
  const environment = {
    MODELFERRY_TLS_CERTIFICATE_FILE: certificateFile('old'),
    MODELFERRY_TLS_KEY_FILE: keyFile('renewed'),
  };
  await expect(startScoring({ environment })).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  const { MODELFERRY_TLS_KEY_FILE: _, ...half } = environment;
  await expect(startScoring({ environment: half })).rejects.toMatchObject({ code: 'USAGE' });
});
