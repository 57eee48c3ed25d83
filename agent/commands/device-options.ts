import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { trustAlso } from '../../shared/tls-trust.ts';

/** The flags that say which device this is. */
export interface DeviceFlags {
  readonly connectionString?: string;
  readonly connectionStringFile?: string;
  readonly ca?: string;
}

const connectionStringVariable = 'FERRY_DEVICE_CONNECTION_STRING';

/** Adds the options that say which device this is. */
export function addDevice(verb: Command): Command {
  return verb
    .option('--connection-string <text>', `connection string of the device (or ${connectionStringVariable})`)
    .option('--connection-string-file <file>', 'file that holds the connection string')
    .option('--ca <file>', 'certificate authority to trust beside the known ones, as PEM');
}

/** Trusts the given CA from now on, and gives the connection string. */
export function openDevice(flags: DeviceFlags): string {
  const text = readConnectionString(flags);
  if (flags.ca !== undefined) trustAlso(flags.ca);
  return text;
}

function readConnectionString({ connectionString, connectionStringFile }: DeviceFlags): string {
  if (connectionString !== undefined) return connectionString;
  if (connectionStringFile === undefined) {
    const ofEnvironment = process.env[connectionStringVariable];
    if (ofEnvironment) return ofEnvironment;
    throw new FerryError(
      'USAGE',
      'Cannot run the agent: no connection string is given, the one of its device is wanted',
      { next: `Give --connection-string-file, --connection-string or ${connectionStringVariable}.` },
    );
  }
  try {
    return readFileSync(connectionStringFile, 'utf8');
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the connection string from "${connectionStringFile}"`, {
      cause,
    });
  }
}
