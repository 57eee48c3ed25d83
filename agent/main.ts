#!/usr/bin/env node
import { Command } from 'commander';
import { exitCodes, runProgram, usageText } from '../shared/process-entry.ts';
import { addCheck } from './commands/check.ts';
import { addInstall } from './commands/install.ts';
import { addReset } from './commands/reset.ts';
import { addRun } from './commands/run.ts';
import { addStatus } from './commands/status.ts';
import { addUninstall } from './commands/uninstall.ts';

await runProgram(main);

async function main(args: readonly string[]): Promise<number> {
  const program = new Command('ferry agent')
    .description('Runs on a device what the hub deploys to it.')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(usageText(message)) });
  addRun(program);
  addStatus(program);
  addCheck(program);
  addReset(program);
  addInstall(program);
  addUninstall(program);
  await program.parseAsync(args, { from: 'user' });
  return exitCodes.done;
}
