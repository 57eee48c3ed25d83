import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { FerryError } from '../../shared/errors.ts';

/** How long systemd may take, in milliseconds: over the 20 s that the agent has to end. */
const timeoutMs = 60_000;

/** Says whether systemd runs this machine, as sd_booted(3) does. */
export function isSystemdUp(): boolean {
  return existsSync('/run/systemd/system');
}

/**
 * Asks systemd to do something.
 * @throws {FerryError} INSTALL_FAILED with what systemd says
 */
export async function systemctl(...args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)('systemctl', [...args], { timeout: timeoutMs });
  } catch (cause) {
    throw new FerryError('INSTALL_FAILED', `Cannot do "systemctl ${args.join(' ')}": systemd refuses`, {
      cause,
      next: 'See "systemctl status modelferry-agent" and "journalctl -u modelferry-agent".',
    });
  }
}
