import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { engineChoices } from '../../shared/containers/open-engine.ts';
import { type AgentConfigInput, parseAddress } from '../agent-config.ts';
import { bytesPerSecondMin } from '../images/bandwidth-limit.ts';
import type { DeviceFlags } from './device-options.ts';

/** The flags that say how an agent works. What is not given is as {@link AgentConfigInput} has it. */
export interface SettingsFlags extends Pick<
  DeviceFlags,
  'ca' | 'certificate' | 'certificateKey' | 'proxy' | 'proxyExcept'
> {
  readonly state?: string;
  readonly engine?: (typeof engineChoices)[number];
  readonly keepModules?: boolean;
  readonly uploadEvery?: number;
  readonly metrics?: string;
  readonly pullRate?: number;
  readonly logLevel?: NonNullable<AgentConfigInput['logLevel']>;
}

/** Adds the options that say how an agent works. None has a default here: an installed agent's are in its file. */
export function addSettings(verb: Command): Command {
  return verb
    .option('--state <folder>', 'folder of the agent (default: /var/lib/modelferry)')
    .addOption(new Option('--engine <name>', 'what runs the modules (default: auto)').choices(engineChoices))
    .option('--keep-modules', 'let the modules run on when the agent ends')
    .option('--upload-every <seconds>', 'how often collected rows are sent (default: 60)', parseSeconds)
    .option('--metrics <address:port>', 'serve health and metrics there, as 127.0.0.1:9600', checkAddress)
    .option('--pull-rate <bytes>', 'most that pulls may take of the link, in bytes a second, as 500k or 2M', parseRate)
    .addOption(
      new Option('--log-level <level>', 'least severe log lines to write (default: info)').choices([
        'trace',
        'debug',
        'info',
        'warn',
        'error',
        'fatal',
        'silent',
      ]),
    );
}

/** Gives what was said by flags, with paths made absolute. */
export function settingsOf(flags: SettingsFlags): Partial<AgentConfigInput> {
  const { state, engine, keepModules, uploadEvery, metrics, pullRate, logLevel } = flags;
  const files = (['ca', 'certificate', 'certificateKey'] as const).flatMap((name) => {
    const path = flags[name];
    return path === undefined ? [] : [[name, resolve(path)] as const];
  });
  const { proxy, proxyExcept } = flags;
  return {
    ...(state === undefined ? {} : { stateFolder: resolve(state) }),
    ...(engine === undefined ? {} : { engine }),
    ...(keepModules === undefined ? {} : { keepModules }),
    ...(uploadEvery === undefined ? {} : { uploadEverySeconds: uploadEvery }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(pullRate === undefined ? {} : { pullBytesPerSecond: pullRate }),
    ...Object.fromEntries(files),
    ...(proxy === undefined ? {} : { proxy }),
    ...(proxyExcept === undefined ? {} : { proxyExcept }),
    ...(logLevel === undefined ? {} : { logLevel }),
  };
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('A number of seconds over 0 and up to 86400 is wanted.');
}

function parseRate(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text) ?? [];
  const bytes = Number(number) * { '': 1, k: 1_000, M: 1_000_000 }[unit as '' | 'k' | 'M'];
  if (number !== '' && bytes >= bytesPerSecondMin) return bytes;
  throw new InvalidArgumentError(
    `A number of bytes a second of at least ${bytesPerSecondMin} is wanted, as 500k or 2M.`,
  );
}

function checkAddress(text: string): string {
  if (parseAddress(text) !== undefined) return text;
  throw new InvalidArgumentError('An address and a port are wanted, as 127.0.0.1:9600 or [::1]:9600.');
}
