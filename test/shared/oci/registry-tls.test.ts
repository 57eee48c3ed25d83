import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { hasCommand, runCommand } from './commands.ts';
import { impatientClock } from './impatient-clock.ts';

test('RegistryClient talks TLS to another machine, once its certificate is trusted', async ({ skip }) => {
  // Only what is called localhost is talked to without TLS; this machine by its name is another one.
  if ((await lookup(hostname()).catch(() => undefined)) === undefined) skip('the name of this machine has no address');
  if (!(await hasCommand('openssl', 'version'))) skip('there is no openssl');
  await using folder = await temporaryFolder();
  const { keyFile, caFile } = await certificateFor(hostname(), folder.path);
  const tls = { key: await readFile(keyFile), cert: await readFile(caFile) };
  const server = createServer(tls, (_request, response) => void response.end('{}')).listen(0);
  await once(server, 'listening');
  await using _server = { [Symbol.asyncDispose]: async () => void server.close() };
  const host = `${hostname()}:${(server.address() as AddressInfo).port}`;

  const clock = impatientClock();
  await expect(new RegistryClient(host, { clock }).ping()).rejects.toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining(`https://${host}`),
  });
  // A certificate will not be another one the next time.
  expect(clock.sleptMs).toEqual([]);

  trustAlso(caFile);
  await expect(new RegistryClient(host).ping()).resolves.toBeUndefined();
  server.closeAllConnections();
});

async function certificateFor(
  name: string,
  folder: string,
): Promise<{ readonly keyFile: string; readonly caFile: string }> {
  const [keyFile, caFile] = [join(folder, 'key.pem'), join(folder, 'ca.pem')];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile, '-out', caFile];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-days', '1'];
  await runCommand('openssl', ['req', '-x509', ...key, ...subject]);
  return { keyFile, caFile };
}
