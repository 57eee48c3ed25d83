import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { parseDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { createLogger } from '../../shared/log.ts';
import { useProxy } from '../../shared/proxy.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { productVersion } from '../../shared/version.ts';
import { type AgentConfig, parseAddress, parseConfig, readCertificate, readConfig } from '../agent-config.ts';
import { addDevice, connectionStringOf, type DeviceFlags } from './device-options.ts';
import { addSettings, type SettingsFlags, settingsOf } from './settings-options.ts';

/** The flags of `agent run`, as commander gives them. */
interface RunFlags extends DeviceFlags, SettingsFlags {
  readonly config?: string;
  readonly logFormat?: 'text' | 'json';
}

/** Flags that say what the agent's file says too. */
const saidByFile = [
  'connectionString',
  'connectionStringFile',
  'ca',
  'certificate',
  'certificateKey',
  'proxy',
  'proxyExcept',
  'state',
  'engine',
  'keepModules',
  'uploadEvery',
  'metrics',
  'pullRate',
  'logLevel',
];

/** Adds `ferry agent run`. */
export function addRun(program: Command): void {
  const verb = program.command('run').description('run the agent in the foreground until it is told to end');
  addSettings(addDevice(verb))
    .addOption(
      new Option('--config <file>', 'file that says all of this, as "ferry agent install" writes it').conflicts(
        saidByFile,
      ),
    )
    .addOption(
      new Option('--log-format <format>', 'how log lines look (default: text on a terminal)').choices(['text', 'json']),
    )
    .action(run);
}

async function run(flags: RunFlags): Promise<void> {
  const config = await configOf(flags);
  if (config.ca !== undefined) trustAlso(config.ca);
  useProxy(config);
  const certificate = await readCertificate(config);
  const log = createLogger('agent', {
    level: config.logLevel,
    ...(flags.logFormat === undefined ? {} : { format: flags.logFormat }),
  });
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
  const { stateFolder, engine, keepModules } = config;
  // In the agent's own folder: what stands in a folder of everybody's would be run as the agent.
  enableCompileCache(join(stateFolder, 'compile-cache'));
  const metricsAddress = parseAddress(config.metrics ?? '');
  const { runAgent } = await import('../run.ts');
  await runAgent(
    {
      device: parseDeviceConnectionString(config.connectionString),
      ...(certificate === undefined ? {} : { certificate }),
      stateFolder,
      engine,
      keepModules,
      uploadEveryMs: config.uploadEverySeconds * 1000,
      ...(metricsAddress === undefined ? {} : { metricsAddress }),
      ...(config.pullBytesPerSecond === undefined ? {} : { pullBytesPerSecond: config.pullBytesPerSecond }),
      version: productVersion,
      log,
    },
    ending.signal,
  );
  // The device SDK leaves timers behind that would keep the process for minutes.
  process.exit(0);
}

async function configOf(flags: RunFlags): Promise<AgentConfig> {
  if (flags.config !== undefined) return readConfig(flags.config);
  const connectionString = connectionStringOf(flags);
  // Here by itself, so that what is wrong with it has a code of its own.
  parseDeviceConnectionString(connectionString);
  return parseConfig({ ...settingsOf(flags), connectionString }, 'the given flags');
}
