import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../../temporary-folder.ts';

const run = promisify(execFile);
const loader = '/lib64/ld-linux-x86-64.so.2';
const module = fileURLToPath(new URL('../../../../agent/scoring/pool/own-command.ts', import.meta.url));

test('ownCommand() leaves out the main module and what follows it', async () => {
  await using folder = await temporaryFolder();
  const main = await writeMain(folder.path);
  const { stdout } = await run(process.execPath, ['--no-warnings', main, 'an', 'argument']);
  expect(JSON.parse(stdout)).toEqual({ command: process.execPath, options: ['--no-warnings'] });
});

// Needs the dynamic loader of this architecture.
test.skipIf(process.arch !== 'x64')('ownCommand() starts Node again where a loader started it', async () => {
  await using folder = await temporaryFolder();
  const main = await writeMain(folder.path);
  const { stdout } = await run(loader, [process.execPath, main]);
  const { command, options } = JSON.parse(stdout) as { command: string; options: string[] };
  expect(options).toEqual([process.execPath]);
  const again = await run(command, [...options, '--version']);
  expect(again.stdout.trim()).toBe(process.version);
});

async function writeMain(folder: string): Promise<string> {
  const main = join(folder, 'main.mjs');
  await writeFile(main, `import { ownCommand } from '${module}'; console.log(JSON.stringify(ownCommand()));`);
  return main;
}
