import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { formatDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError } from '../../shared/errors.ts';
import { useProxy } from '../../shared/proxy.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import type { Installation } from '../install/install.ts';
import { checkDevice, checksText, failOnErrors } from './check.ts';
import { addDevice, type DeviceFlags, findConnectionString } from './device-options.ts';
import { addSettings, type SettingsFlags, settingsOf } from './settings-options.ts';

interface InstallFlags extends DeviceFlags, SettingsFlags {
  readonly hub?: string;
  readonly deviceId?: string;
  readonly keyFile?: string;
  readonly root: string;
  readonly check: boolean;
  readonly json?: boolean;
}

/** Adds `ferry agent install`. */
export function addInstall(program: Command): void {
  const verb = program
    .command('install')
    .description('make this program a system service; again, with a newer one or other flags, to change it');
  addSettings(addDevice(verb))
    .option('--hub <host>', 'host of the hub, instead of a connection string')
    .option('--device-id <id>', 'name of the device, with --hub')
    .option('--key-file <file>', "file that holds the device's key, with --hub")
    .option('--root <folder>', 'install into the folder of an image, and start nothing', '/')
    .option('--no-check', 'do not look afterwards whether the device has all that the agent needs')
    .option('--json', 'print one JSON document')
    .action(install);
}

async function install(flags: InstallFlags): Promise<void> {
  const { installAgent } = await import('../install/install.ts');
  const connectionString = identityOf(flags);
  const settings = { ...settingsOf(flags), ...(connectionString === undefined ? {} : { connectionString }) };
  const root = resolve(flags.root);
  const done = await installAgent({ settings, root });
  const { files, config, started, written } = done;
  if (flags.json !== true) process.stdout.write(`${installedText(done, root)}\n`);
  const isChecked = flags.check && root === '/';
  if (isChecked && config.ca !== undefined) trustAlso(config.ca);
  if (isChecked) useProxy(config);
  const checks = isChecked ? await checkDevice(config) : [];
  if (flags.json === true) {
    const { config: settingsFile, unit } = files;
    process.stdout.write(`${JSON.stringify({ config: settingsFile, unit, written, started, checks }, undefined, 2)}\n`);
  } else if (isChecked) process.stdout.write(`\n${checksText(checks)}\n`);
  failOnErrors(checks);
  // What the checks leave open would keep the process.
  process.exit(0);
}

/** Gives the connection string of the device where flags say which it is; an earlier installation may know it. */
function identityOf(flags: InstallFlags): string | undefined {
  const { hub, deviceId, keyFile, certificate } = flags;
  if (hub === undefined && deviceId === undefined && keyFile === undefined) return findConnectionString(flags);
  if (hub === undefined || deviceId === undefined || (keyFile === undefined) === (certificate === undefined)) {
    throw new FerryError(
      'USAGE',
      'Cannot install the agent: --hub, --device-id and one of --key-file and --certificate are wanted together',
    );
  }
  if (keyFile === undefined) return formatDeviceConnectionString({ hostName: hub, deviceId });
  try {
    const sharedAccessKey = readFileSync(keyFile, 'utf8').trim();
    return formatDeviceConnectionString({ hostName: hub, deviceId, sharedAccessKey });
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the device's key from "${keyFile}"`, { cause });
  }
}

function installedText({ files, started, written }: Installation, root: string): string {
  const what = written.length === 0 ? 'All was as it is to be.' : `Wrote ${written.join(' and ')}.`;
  if (started) return `${what} The agent runs: see "ferry agent status".`;
  if (root !== '/') return `${what} Have the image enable it: systemctl --root="${root}" enable modelferry-agent`;
  return `${what} systemd does not run here: start the agent with: ferry agent run --config ${files.config}`;
}
