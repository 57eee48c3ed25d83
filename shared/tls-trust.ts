import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { FerryError } from './errors.ts';

/**
 * Makes this process trust a certificate authority beside those that it trusts already, for every TLS connection made
 * from now on by any library.
 * @param caFile PEM file of one or more certificates
 * @throws {FerryError} FILE_UNREADABLE when there is no such file or it holds no certificate
 */
export function trustAlso(caFile: string): void {
  let pem: string;
  try {
    pem = readFileSync(caFile, 'utf8');
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the CA certificate "${caFile}"`, { cause });
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot use "${caFile}" as a CA: it holds no certificate, a PEM file was wanted`,
    );
  }
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), pem]);
}
