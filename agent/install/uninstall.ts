import { existsSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { type AgentConfig, readConfig } from '../agent-config.ts';
import { resetAgent } from '../reset.ts';
import { installedFiles, unitName } from './installed-files.ts';
import { isSystemdUp, systemctl } from './systemctl.ts';

/** The settings of {@link uninstallAgent}. */
export interface UninstallOptions {
  readonly root: string;
  /** Takes away the agent's folder too, its modules and their images, and rows that are not uploaded yet. */
  readonly purge: boolean;
  readonly log: Logger;
}

/** What an uninstallation came to. */
export interface Uninstallation {
  readonly removed: readonly string[];
  /** The agent's folder where it was left; it is not known where the settings could not be read. */
  readonly kept?: string;
}

/**
 * Undoes an installation: ends the agent, takes its unit and its settings away. Does nothing where nothing is installed.
 * @throws {FerryError} FILE_UNWRITABLE, INSTALL_FAILED, and with `purge` what {@link resetAgent} throws
 */
export async function uninstallAgent({ root, purge, log }: UninstallOptions): Promise<Uninstallation> {
  const files = installedFiles(root);
  const isInstalled = existsSync(files.unit);
  const config = await readSettings(files.config, purge);
  if (isInstalled && root === '/' && isSystemdUp()) await systemctl('disable', '--now', unitName);
  const removed: string[] = [];
  const folder = config === undefined ? undefined : join(root, config.stateFolder);
  if (purge && folder !== undefined) {
    await resetAgent(folder, log);
    removed.push(folder);
  }
  try {
    for (const path of [files.unit, files.config, files.ca, files.certificate, files.certificateKey]) {
      if (!existsSync(path)) continue;
      await rm(path);
      removed.push(path);
    }
    // What somebody else has put there stays, and so does the folder then.
    if (existsSync(files.configFolder)) await rmdir(files.configFolder).catch(() => undefined);
  } catch (cause) {
    if (systemCodeOf(cause) === undefined) throw cause;
    throw new FerryError('FILE_UNWRITABLE', `Cannot take the agent away from "${root}"`, { cause });
  }
  if (isInstalled && root === '/' && isSystemdUp()) await systemctl('daemon-reload');
  return { removed, ...(purge || folder === undefined ? {} : { kept: folder }) };
}

/** Reads the settings; that they are no good keeps nobody from taking them away, unless the folder has to be known. */
async function readSettings(path: string, mustBeGood: boolean): Promise<AgentConfig | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    return await readConfig(path);
  } catch (error) {
    if (mustBeGood || !isFerryError(error, 'CONFIG_INVALID')) throw error;
    return undefined;
  }
}
