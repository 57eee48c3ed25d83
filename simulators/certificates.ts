import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../shared/clock.ts';
import { writeDurably } from '../shared/durable-file.ts';
import { FerryError } from '../shared/errors.ts';

/** The certificates of the local world: a CA made for this machine, and one server certificate for every simulator. */
export interface Certificates {
  /** PEM file of the CA: what clients have to trust. */
  readonly caFile: string;
  readonly caPem: string;
  /** PEM file of the server certificate, followed by the CA's. */
  readonly certFile: string;
  readonly certPem: string;
  /** PEM file (0600) of the server certificate's private key. */
  readonly keyFile: string;
  readonly keyPem: string;
}

/** The settings of {@link openCertificates}. */
export interface CertificatesOptions {
  /** @default the machine's clock */
  readonly clock?: Clock;
}

const dayMs = 24 * 60 * 60 * 1000;
const caDays = 3650;
// What Apple's and the browsers' rules allow a server certificate to last at most.
const serverDays = 397;
/** A certificate with less than this left is made anew. */
const renewBeforeDays = 30;

/**
 * Opens a folder's certificates: makes them at first use, and the server certificate again when it nears its end or does
 * not name this machine. The CA stays the same as long as it is valid, so clients keep their trust.
 * @throws {FerryError} FILE_UNREADABLE when the folder holds something that is no certificate or no key
 */
export async function openCertificates(folder: string, options: CertificatesOptions = {}): Promise<Certificates> {
  const { clock = systemClock } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const caFile = join(folder, 'ca.pem');
  const caKeyFile = join(folder, 'ca.key.pem');
  const certFile = join(folder, 'server.pem');
  const keyFile = join(folder, 'server.key.pem');
  let ca = await readPair({ certFile: caFile, keyFile: caKeyFile });
  let server = await readPair({ certFile, keyFile });
  if (ca === undefined || !isFresh(ca, clock)) {
    const { makeAuthority } = await import('./certificate-maker.ts');
    ca = await makeAuthority({ nowMs: clock.nowMs(), days: caDays });
    await writeDurably(caKeyFile, ca.keyPem, { mode: 0o600 });
    await writeDurably(caFile, ca.certPem);
  }
  const names = serverNames();
  if (server === undefined || !isFresh(server, clock) || !isIssuedFor(server, { ca, names })) {
    const { makeServerCertificate } = await import('./certificate-maker.ts');
    server = await makeServerCertificate({ authority: ca, names, nowMs: clock.nowMs(), days: serverDays });
    await writeDurably(keyFile, server.keyPem, { mode: 0o600 });
    await writeDurably(certFile, server.certPem);
  }
  return { caFile, caPem: ca.certPem, certFile, certPem: server.certPem, keyFile, keyPem: server.keyPem };
}

/** A certificate and its private key, both PEM. */
export interface CertificatePair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** What the server certificate is valid for. */
function serverNames(): { readonly dns: readonly string[]; readonly ip: readonly string[] } {
  const dns = new Set(['localhost', '*.azure-devices.net', hostname().toLowerCase()]);
  return { dns: [...dns].filter((name) => name !== ''), ip: ['127.0.0.1', '::1'] };
}

async function readPair(files: {
  readonly certFile: string;
  readonly keyFile: string;
}): Promise<CertificatePair | undefined> {
  const [certPem, keyPem] = await Promise.all([readIfThere(files.certFile), readIfThere(files.keyFile)]);
  if (certPem === undefined || keyPem === undefined) return undefined;
  try {
    const certificate = new X509Certificate(certPem);
    // A crash between the two writes leaves a key without its certificate: such a pair is made anew.
    return certificate.checkPrivateKey(createPrivateKey(keyPem)) ? { certPem, keyPem } : undefined;
  } catch (cause) {
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot read the certificate "${files.certFile}" and its key: not PEM, or damaged`,
      { cause, next: `Remove both "${files.certFile}" and "${files.keyFile}": they are made anew` },
    );
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new FerryError('FILE_UNREADABLE', `Cannot read the certificate file "${path}"`, { cause: error });
  }
}

function isFresh({ certPem }: CertificatePair, clock: Clock): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certPem);
  const now = clock.nowMs();
  return validFromDate.getTime() <= now && validToDate.getTime() - now > renewBeforeDays * dayMs;
}

function isIssuedFor(
  server: CertificatePair,
  { ca, names }: { readonly ca: CertificatePair; readonly names: ReturnType<typeof serverNames> },
): boolean {
  const certificate = new X509Certificate(server.certPem);
  const alternative = certificate.subjectAltName ?? '';
  return (
    certificate.verify(new X509Certificate(ca.certPem).publicKey) &&
    names.dns.every((name) => alternative.includes(`DNS:${name}`))
  );
}
