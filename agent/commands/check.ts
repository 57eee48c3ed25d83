import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { parseDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError } from '../../shared/errors.ts';
import { table } from '../../shared/text-layout.ts';
import { useProxy } from '../../shared/proxy.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { type AgentConfig, readCertificate, readConfig } from '../agent-config.ts';
import type { CheckResult } from '../check/check.ts';
import { addDevice, type DeviceFlags, openDevice } from './device-options.ts';
import { addState } from './state-option.ts';

interface CheckFlags extends DeviceFlags {
  readonly config?: string;
  readonly state: string;
  readonly json?: boolean;
}

/** Adds `ferry agent check`. */
export function addCheck(program: Command): void {
  const verb = program
    .command('check')
    .description('look whether this device has all that the agent needs, and say what to do where not');
  addState(addDevice(verb))
    .addOption(
      new Option('--config <file>', 'file of an installed agent, which says all of this').conflicts([
        'connectionString',
        'connectionStringFile',
        'ca',
        'certificate',
        'certificateKey',
        'proxy',
        'proxyExcept',
        'state',
      ]),
    )
    .option('--json', 'print one JSON document')
    .action(check);
}

async function check(flags: CheckFlags): Promise<void> {
  const config = flags.config === undefined ? undefined : await readConfig(flags.config);
  if (config?.ca !== undefined) trustAlso(config.ca);
  useProxy(config ?? flags);
  const results = await checkDevice(
    config ?? { ...flags, connectionString: openDevice(flags), stateFolder: resolve(flags.state) },
  );
  process.stdout.write(
    `${flags.json === true ? JSON.stringify({ checks: results }, undefined, 2) : checksText(results)}\n`,
  );
  failOnErrors(results);
  return process.exit(0);
}

/** Looks whether this device has all that its agent needs. */
export async function checkDevice(
  config: Pick<AgentConfig, 'connectionString' | 'stateFolder' | 'certificate' | 'certificateKey'>,
): Promise<readonly CheckResult[]> {
  const [{ runChecks }, { deviceChecks }, { AgentState }, { Generations }] = await Promise.all([
    import('../check/check.ts'),
    import('../check/device-checks.ts'),
    import('../agent-state.ts'),
    import('../generations.ts'),
  ]);
  const device = parseDeviceConnectionString(config.connectionString);
  const state = new AgentState(config.stateFolder);
  const generations = await Generations.open(state.desiredFile, device.deviceId);
  const certificate = await readCertificate(config);
  const checks = deviceChecks({
    device,
    ...(certificate === undefined ? {} : { certificate }),
    stateFolder: state.folder,
    desired: generations.current,
  });
  return runChecks(checks, new AbortController().signal);
}

/** @throws {FerryError} CHECK_FAILED when a check has found an error */
export function failOnErrors(results: readonly CheckResult[]): void {
  const failed = results.filter(({ outcome }) => outcome === 'error');
  if (failed.length === 0) return;
  throw new FerryError(
    'CHECK_FAILED',
    `Cannot run the agent well: ${failed.length} of ${results.length} checks failed`,
  );
}

/** Lays out what was found, and what to do. */
export function checksText(results: readonly CheckResult[]): string {
  const rows = results.map(({ outcome, name, found, next }) => [
    outcome,
    name,
    next === undefined ? found : `${found}\n${next}`,
  ]);
  return table(['', 'check', 'found'], rows);
}
