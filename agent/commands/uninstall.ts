import { resolve } from 'node:path';
import type { Command } from 'commander';
import { createLogger } from '../../shared/log.ts';

interface UninstallFlags {
  readonly root: string;
  readonly purge?: boolean;
  readonly json?: boolean;
}

/** Adds `ferry agent uninstall`. */
export function addUninstall(program: Command): void {
  program
    .command('uninstall')
    .description('end the agent and take its service and settings away; its folder stays')
    .option('--purge', 'take its folder away too, with modules, images, and rows not yet uploaded')
    .option('--root <folder>', 'folder of the image that it was installed into', '/')
    .option('--json', 'print one JSON document')
    .action(uninstall);
}

async function uninstall(flags: UninstallFlags): Promise<void> {
  const { uninstallAgent } = await import('../install/uninstall.ts');
  const log = createLogger('agent', { level: 'warn' });
  const done = await uninstallAgent({ root: resolve(flags.root), purge: flags.purge ?? false, log });
  const removed = done.removed.length === 0 ? 'Nothing was installed.' : `Removed ${done.removed.join(', ')}.`;
  const text = done.kept === undefined ? removed : `${removed} Kept "${done.kept}" with what it holds.`;
  process.stdout.write(`${flags.json === true ? JSON.stringify(done, undefined, 2) : text}\n`);
}
