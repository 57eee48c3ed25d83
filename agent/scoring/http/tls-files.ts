import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { FerryError } from '../../../shared/errors.ts';

/** The files of a server that speaks TLS. */
export interface TlsFiles {
  /** PEM: the certificate, and those between it and its root. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** PEM: clients must show a certificate of one of these authorities. @default none is asked for */
  readonly clientCaFile: string | undefined;
}

/** Gives the files that are to be watched. */
export function pathsOf({ certificateFile, keyFile, clientCaFile }: TlsFiles): string[] {
  return [certificateFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])];
}

/**
 * Reads the files, and makes sure that key and certificate belong together.
 * @throws {FerryError} FILE_UNREADABLE
 */
export function readTlsFiles(files: TlsFiles): SecureContextOptions {
  const { certificateFile, keyFile, clientCaFile } = files;
  try {
    const options: SecureContextOptions = {
      cert: readFileSync(certificateFile),
      key: readFileSync(keyFile),
      minVersion: 'TLSv1.2',
      ...(clientCaFile === undefined ? {} : { ca: readFileSync(clientCaFile) }),
    };
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot use the certificate "${certificateFile}" with the key "${keyFile}"`,
      { cause },
    );
  }
}
