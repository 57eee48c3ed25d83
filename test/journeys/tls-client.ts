import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { makeAuthority, makeServerCertificate } from '../../simulators/certificate-maker.ts';

const host = 'digits.example.com';

/** What a service is told to answer over TLS with. */
export const tlsFlags = ['--tls-certificate-file', 'tls.crt', '--tls-key-file', 'tls.key', '--tls-name', host] as const;

/** Makes a certificate in a folder, as `tls.crt` and `tls.key`. @returns the certificate */
export async function writeTls(folder: string): Promise<string> {
  const nowMs = Date.now();
  const authority = await makeAuthority({ nowMs, days: 10, name: 'CN=A test' });
  const names = { dns: [host], ip: [] };
  const { certPem, keyPem } = await makeServerCertificate({ authority, names, nowMs, days: 5 });
  await writeFile(join(folder, 'tls.crt'), certPem);
  await writeFile(join(folder, 'tls.key'), keyPem);
  return certPem;
}

/** Scores over TLS, whose certificate has to be the one that was given. @returns the status */
export async function scoreOverTls(
  address: string,
  { certificate, key, body }: { readonly certificate: string; readonly key: string; readonly body: string },
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const options = { method: 'POST', headers, ca: certificate, servername: host, agent: false } as const;
  const sent = request(new URL(`${address}/score`), options, (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  sent.on('error', reject);
  sent.end(body);
  return await promise;
}
