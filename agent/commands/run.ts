import { enableCompileCache } from 'node:module';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { createLogger } from '../../shared/log.ts';
import { productVersion } from '../../shared/version.ts';
import { addDevice, type DeviceFlags, openDevice } from './device-options.ts';
import { addState } from './state-option.ts';

/** The flags of `agent run`, as commander gives them. */
interface RunFlags extends DeviceFlags {
  readonly state: string;
  readonly engine: 'auto' | 'docker' | 'process';
  readonly keepModules?: boolean;
  readonly uploadEvery: number;
  readonly metrics?: { readonly host: string; readonly port: number };
  readonly logFormat?: 'text' | 'json';
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
}

/** Adds `ferry agent run`. */
export function addRun(program: Command): void {
  const verb = program.command('run').description('run the agent in the foreground until it is told to end');
  addState(addDevice(verb))
    .addOption(
      new Option('--engine <name>', 'what runs the modules').choices(['auto', 'docker', 'process']).default('auto'),
    )
    .option('--keep-modules', 'let the modules run on when the agent ends')
    .option('--upload-every <seconds>', 'how often collected rows are sent', parseSeconds, 60)
    .option('--metrics <address:port>', 'serve health and metrics there, as 127.0.0.1:9600', parseAddress)
    .addOption(
      new Option('--log-format <format>', 'how log lines look (default: text on a terminal)').choices(['text', 'json']),
    )
    .addOption(
      new Option('--log-level <level>', 'least severe log lines to write')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .action(run);
}

async function run(flags: RunFlags): Promise<void> {
  const device = parseDeviceConnectionString(openDevice(flags));
  const log = createLogger('agent', {
    level: flags.logLevel,
    ...(flags.logFormat === undefined ? {} : { format: flags.logFormat }),
  });
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
  const stateFolder = resolve(flags.state);
  // In the agent's own folder: what stands in a folder of everybody's would be run as the agent.
  enableCompileCache(join(stateFolder, 'compile-cache'));
  const { runAgent } = await import('../run.ts');
  await runAgent(
    {
      device,
      stateFolder,
      engine: flags.engine,
      keepModules: flags.keepModules ?? false,
      uploadEveryMs: flags.uploadEvery * 1000,
      ...(flags.metrics === undefined ? {} : { metricsAddress: flags.metrics }),
      version: productVersion,
      log,
    },
    ending.signal,
  );
  // The device SDK leaves timers behind that would keep the process for minutes.
  process.exit(0);
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('A number of seconds over 0 and up to 86400 is wanted.');
}

function parseAddress(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (isIP(host) !== 0 && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new InvalidArgumentError('An address and a port are wanted, as 127.0.0.1:9600 or [::1]:9600.');
}
