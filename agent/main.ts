#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseDeviceConnectionString } from '../shared/edge/connection-string.ts';
import { FerryError } from '../shared/errors.ts';
import { createLogger } from '../shared/log.ts';
import { exitCodes, runProgram, usageText } from '../shared/process-entry.ts';
import { productVersion } from '../shared/version.ts';

/** The flags of `agent run`, as commander gives them. */
interface RunFlags {
  readonly connectionString?: string;
  readonly connectionStringFile?: string;
  readonly state: string;
  readonly engine: 'auto' | 'docker' | 'process';
  readonly ca?: string;
  readonly keepModules?: boolean;
  readonly uploadEvery: number;
  readonly logFormat?: 'text' | 'json';
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
}

const connectionStringVariable = 'FERRY_DEVICE_CONNECTION_STRING';

await runProgram(main);

async function main(args: readonly string[]): Promise<number> {
  const program = new Command('ferry agent')
    .description('Runs on a device what the hub deploys to it.')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(usageText(message)) });
  program
    .command('run')
    .description('run the agent in the foreground until it is told to end')
    .option('--connection-string <text>', `connection string of the device (or ${connectionStringVariable})`)
    .option('--connection-string-file <file>', 'file that holds the connection string')
    .option('--state <folder>', 'folder of the agent', '/var/lib/modelferry')
    .addOption(
      new Option('--engine <name>', 'what runs the modules').choices(['auto', 'docker', 'process']).default('auto'),
    )
    .option('--ca <file>', 'certificate authority to trust beside the known ones, as PEM')
    .option('--keep-modules', 'let the modules run on when the agent ends')
    .option('--upload-every <seconds>', 'how often collected rows are sent', parseSeconds, 60)
    .addOption(
      new Option('--log-format <format>', 'how log lines look (default: text on a terminal)').choices(['text', 'json']),
    )
    .addOption(
      new Option('--log-level <level>', 'least severe log lines to write')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .action(run);
  program
    .command('reset')
    .description('take the agent off this device: its modules, their images, and its folder with rows not yet uploaded')
    .requiredOption('--state <folder>', 'folder of the agent')
    .option('--json', 'print one JSON document')
    .action(reset);
  await program.parseAsync(args, { from: 'user' });
  return exitCodes.done;
}

async function run(flags: RunFlags): Promise<void> {
  const device = parseDeviceConnectionString(readConnectionString(flags));
  if (flags.ca !== undefined) {
    const { trustAlso } = await import('../shared/tls-trust.ts');
    trustAlso(flags.ca);
  }
  const log = createLogger('agent', {
    level: flags.logLevel,
    ...(flags.logFormat === undefined ? {} : { format: flags.logFormat }),
  });
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
  const { runAgent } = await import('./run.ts');
  await runAgent(
    {
      device,
      stateFolder: resolve(flags.state),
      engine: flags.engine,
      keepModules: flags.keepModules ?? false,
      uploadEveryMs: flags.uploadEvery * 1000,
      version: productVersion,
      log,
    },
    ending.signal,
  );
  // The device SDK leaves timers behind that would keep the process for minutes.
  process.exit(0);
}

async function reset(flags: { readonly state: string; readonly json?: boolean }): Promise<void> {
  const { resetAgent } = await import('./reset.ts');
  const report = await resetAgent(resolve(flags.state), createLogger('agent', { level: 'warn' }));
  const text = `Removed ${report.modules.length} modules, ${report.images.length} images, and "${flags.state}".`;
  process.stdout.write(`${flags.json === true ? JSON.stringify(report, undefined, 2) : text}\n`);
}

function readConnectionString({ connectionString, connectionStringFile }: RunFlags): string {
  if (connectionString !== undefined) return connectionString;
  if (connectionStringFile === undefined) {
    const ofEnvironment = process.env[connectionStringVariable];
    if (ofEnvironment) return ofEnvironment;
    throw new FerryError(
      'USAGE',
      'Cannot run the agent: no connection string is given, the one of its device is wanted',
      {
        next: `Give --connection-string-file, --connection-string or ${connectionStringVariable}.`,
      },
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

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('A number of seconds over 0 and up to 86400 is wanted.');
}
