import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { FerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { WatchedFiles } from '../watched-files.ts';

/** The files of a server that speaks TLS. */
export interface TlsFiles {
  /** PEM: the certificate, and those between it and its root. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** PEM: clients must show a certificate of one of these authorities. @default none is asked for */
  readonly clientCaFile: string | undefined;
}

/**
 * Reads the certificate, and again when it is renewed.
 * @throws {FerryError} FILE_UNREADABLE
 */
export function watchCertificates(
  files: TlsFiles,
  { log, onChange }: { readonly log: Logger; readonly onChange: (renewed: SecureContextOptions) => void },
): WatchedFiles<SecureContextOptions> {
  return new WatchedFiles({
    paths: pathsOf(files),
    read: () => readTlsFiles(files),
    onChange: (renewed) => {
      onChange(renewed);
      log.info('read the renewed certificate');
    },
    onFailure: (err) => log.error({ err }, 'could not read the renewed certificate; the one before stays'),
  });
}

/**
 * Reads the files, and makes sure that key and certificate belong together.
 * @throws {FerryError} FILE_UNREADABLE
 */
function readTlsFiles(files: TlsFiles): SecureContextOptions {
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

function pathsOf({ certificateFile, keyFile, clientCaFile }: TlsFiles): string[] {
  return [certificateFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])];
}
