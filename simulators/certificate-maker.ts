import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { CertificatePair } from './certificates.ts';

// An own module, loaded only when something has to be made: the library takes longer to load than a start may take.

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 24 * 60 * 60 * 1000;
/** Clocks of devices may be behind: certificates are valid from this much earlier. */
const backdateMs = dayMs;

/** Makes a certificate authority with a new key. */
export async function makeAuthority(options: {
  readonly nowMs: number;
  readonly days: number;
  /** @default 'CN=Modelferry local CA' */
  readonly name?: string;
}): Promise<CertificatePair> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: options.name ?? 'CN=Modelferry local CA',
    keys,
    signingAlgorithm: algorithm,
    ...validity(options),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: pemOf(certificate), keyPem: await privateKeyPem(keys) };
}

/** Makes a server certificate with a new key, signed by the authority; the PEM holds the authority's certificate too. */
export async function makeServerCertificate(options: {
  readonly authority: CertificatePair;
  readonly names: { readonly dns: readonly string[]; readonly ip: readonly string[] };
  readonly nowMs: number;
  readonly days: number;
}): Promise<CertificatePair> {
  const { authority, names } = options;
  const pair = await makeLeaf({
    ...options,
    name: 'CN=Modelferry simulator',
    usage: x509.ExtendedKeyUsage.serverAuth,
    alternativeNames: [
      ...names.dns.map((value) => ({ type: 'dns' as const, value })),
      ...names.ip.map((value) => ({ type: 'ip' as const, value })),
    ],
  });
  return { certPem: pair.certPem + authority.certPem, keyPem: pair.keyPem };
}

/** Makes a certificate that a device shows to the hub: its common name is the device's id. */
export async function makeDeviceCertificate(options: {
  readonly authority: CertificatePair;
  readonly deviceId: string;
  readonly nowMs: number;
  readonly days: number;
}): Promise<CertificatePair> {
  return await makeLeaf({
    ...options,
    name: [{ CN: [options.deviceId] }],
    usage: x509.ExtendedKeyUsage.clientAuth,
    alternativeNames: [],
  });
}

interface LeafOptions {
  readonly authority: CertificatePair;
  readonly name: string | x509.JsonName;
  readonly usage: x509.ExtendedKeyUsageType;
  readonly alternativeNames: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[];
  readonly nowMs: number;
  readonly days: number;
}

async function makeLeaf(options: LeafOptions): Promise<CertificatePair> {
  const { authority, name, usage, alternativeNames } = options;
  const issuer = new x509.X509Certificate(authority.certPem);
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: name,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: await importPrivateKey(authority.keyPem),
    signingAlgorithm: algorithm,
    ...validity(options),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(alternativeNames.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...alternativeNames])]),
    ],
  });
  return { certPem: pemOf(certificate), keyPem: await privateKeyPem(keys) };
}

function validity({ nowMs, days }: { readonly nowMs: number; readonly days: number }): {
  notBefore: Date;
  notAfter: Date;
} {
  return { notBefore: new Date(nowMs - backdateMs), notAfter: new Date(nowMs + days * dayMs - backdateMs) };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')}\n`;
}

async function importPrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem);
  return await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
