import { resolve } from 'node:path';
import type { Command } from 'commander';
import { createLogger } from '../../shared/log.ts';

/** Adds `ferry agent reset`. */
export function addReset(program: Command): void {
  program
    .command('reset')
    .description('take the agent off this device: its modules, their images, and its folder with rows not yet uploaded')
    .requiredOption('--state <folder>', 'folder of the agent')
    .option('--json', 'print one JSON document')
    .action(reset);
}

async function reset(flags: { readonly state: string; readonly json?: boolean }): Promise<void> {
  const { resetAgent } = await import('../reset.ts');
  const report = await resetAgent(resolve(flags.state), createLogger('agent', { level: 'warn' }));
  const text = `Removed ${report.modules.length} modules, ${report.images.length} images, and "${flags.state}".`;
  process.stdout.write(`${flags.json === true ? JSON.stringify(report, undefined, 2) : text}\n`);
}
