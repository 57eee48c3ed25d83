import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { trustAlso } from '../../shared/tls-trust.ts';

/** The flags that say which device this is. */
export interface DeviceFlags {
  readonly connectionString?: string;
  readonly connectionStringFile?: string;
  readonly ca?: string;
  readonly certificate?: string;
  readonly certificateKey?: string;
  readonly proxy?: string;
  readonly proxyExcept?: string;
}

const connectionStringVariable = 'FERRY_DEVICE_CONNECTION_STRING';

/** Adds the options that say which device this is. */
export function addDevice(verb: Command): Command {
  return verb
    .option('--connection-string <text>', `connection string of the device (or ${connectionStringVariable})`)
    .option('--connection-string-file <file>', 'file that holds the connection string')
    .option('--certificate <file>', 'certificate of the device where the connection string says x509=true, as PEM')
    .option('--certificate-key <file>', 'private key of that certificate, as PEM')
    .option('--ca <file>', 'certificate authority to trust beside the known ones, as PEM')
    .option('--proxy <url>', 'what HTTPS goes through, as http://proxy:3128 (or HTTPS_PROXY)')
    .option('--proxy-except <hosts>', 'hosts that are reached without it, with commas between (or NO_PROXY)');
}

/** Trusts the given CA from now on, and gives the connection string. */
export function openDevice(flags: DeviceFlags): string {
  const text = connectionStringOf(flags);
  if (flags.ca !== undefined) trustAlso(flags.ca);
  return text;
}

/**
 * Gives the connection string.
 * @throws {FerryError} USAGE when none is given
 */
export function connectionStringOf(flags: DeviceFlags): string {
  const text = findConnectionString(flags);
  if (text !== undefined) return text;
  throw new FerryError(
    'USAGE',
    'Cannot run the agent: no connection string is given, the one of its device is wanted',
    { next: `Give --connection-string-file, --connection-string or ${connectionStringVariable}.` },
  );
}

/** Gives the connection string if one is given. */
export function findConnectionString({ connectionString, connectionStringFile }: DeviceFlags): string | undefined {
  if (connectionString !== undefined) return connectionString;
  if (connectionStringFile === undefined) return process.env[connectionStringVariable] || undefined;
  try {
    return readFileSync(connectionStringFile, 'utf8').trim();
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the connection string from "${connectionStringFile}"`, {
      cause,
    });
  }
}
