import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeDurably } from '../../shared/durable-file.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { programCommand } from '../../shared/programs.ts';
import {
  type AgentConfig,
  type AgentConfigInput,
  configText,
  parseConfig,
  readCertificate,
  readConfig,
} from '../agent-config.ts';
import { AgentState } from '../agent-state.ts';
import { installedFiles, type InstalledFiles, unitName } from './installed-files.ts';
import { isSystemdUp, systemctl } from './systemctl.ts';
import { unitText } from './systemd-unit.ts';

/** The settings of {@link installAgent}. */
export interface InstallOptions {
  /** What the agent is told. What is left out stays as an earlier installation has it. */
  readonly settings: Partial<AgentConfigInput>;
  /** What `/` will be. Only with `/` itself is systemd told. */
  readonly root: string;
}

/** Files that are copied beside the settings, so that they stay where the agent may read them. */
const copiedFiles = [
  { name: 'ca', mode: 0o644 },
  { name: 'certificate', mode: 0o644 },
  { name: 'certificateKey', mode: 0o600 },
] as const;

/** What an installation came to. */
export interface Installation {
  readonly files: InstalledFiles;
  readonly config: AgentConfig;
  /** Whether systemd runs the agent now. */
  readonly started: boolean;
  /** What was written anew; empty when all was as it is to be. */
  readonly written: readonly string[];
}

/**
 * Makes this program a system service: writes its settings and its unit, and has systemd run it, now and after every start of
 * the machine. Done again, with a newer program or other settings, it changes what is different; the agent's folder stays.
 * @throws {FerryError} USAGE when it is not known which device this is
 * @throws {FerryError} CONFIG_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE, INSTALL_FAILED
 */
export async function installAgent({ settings, root }: InstallOptions): Promise<Installation> {
  const files = installedFiles(root);
  const before = await readBefore(files.config);
  const paths = installedFiles('/');
  const copied = copiedFiles.filter(({ name }) => settings[name] !== undefined);
  const wanted = { ...before, ...settings, ...Object.fromEntries(copied.map(({ name }) => [name, paths[name]])) };
  if (wanted.connectionString === undefined) {
    throw new FerryError('USAGE', 'Cannot install the agent: it is not known which device this is', {
      next: 'Give --connection-string-file, or --hub, --device-id and --key-file or --certificate.',
    });
  }
  const config = parseConfig(wanted, 'the given settings');
  const unit = unitText({ command: [...programCommand('agent'), 'run', '--config', paths.config], config });
  // All is read before anything is written, so that nothing is half installed.
  await readCertificate(settings);
  const given = await Promise.all(
    copied.map(async ({ name, mode }) => ({ name, mode, content: await readGiven(settings[name] ?? '') })),
  );
  const written: string[] = [];
  try {
    await mkdir(files.configFolder, { recursive: true });
    await mkdir(dirname(files.unit), { recursive: true });
    // The unit names it, and systemd starts nothing whose writable folder is not there.
    await AgentState.open(join(root, config.stateFolder));
    for (const { name, mode, content } of given) {
      if (await writeIfOther(files[name], content, mode)) written.push(files[name]);
    }
    if (await writeIfOther(files.config, configText(config), 0o600)) written.push(files.config);
    if (await writeIfOther(files.unit, unit, 0o644)) written.push(files.unit);
  } catch (cause) {
    const code = systemCodeOf(cause);
    if (code === undefined) throw cause;
    throw new FerryError('FILE_UNWRITABLE', `Cannot install the agent under "${root}"`, {
      cause,
      ...(['EACCES', 'EPERM'].includes(code) ? { next: 'Run this as root.' } : {}),
    });
  }
  const started = root === '/' && isSystemdUp();
  if (started) {
    await systemctl('daemon-reload');
    await systemctl('enable', unitName);
    // Not where nothing has changed: a restart of the agent is one of its modules.
    await systemctl(written.length > 0 ? 'restart' : 'start', unitName);
  }
  return { files, config, started, written };
}

/** Reads a file that a flag names. */
async function readGiven(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${path}"`, { cause });
  }
}

async function readBefore(path: string): Promise<Partial<AgentConfig>> {
  try {
    return await readConfig(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return {};
    throw error;
  }
}

/** Writes a file unless that is what it holds; says whether it did. */
async function writeIfOther(path: string, content: string, mode: number): Promise<boolean> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === content) return false;
  await writeDurably(path, content, { mode });
  return true;
}
