import { execFile } from 'node:child_process';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary-folder.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Longer than building, packing and the journey take on a busy machine. */
const timeoutMs = 180_000;

test('the packed package runs on its own, outside of the checkout', { timeout: timeoutMs }, async () => {
  await using folder = await temporaryFolder();
  const ferry = await installPacked(folder.path);
  const help = await run(process.execPath, [ferry, '--help'], { cwd: folder.path });
  expect(help.stdout).toContain('quickstart');
  const journey = await run(process.execPath, [ferry, 'quickstart', '--json', '--engine', 'process'], {
    cwd: folder.path,
  });
  expect(JSON.parse(journey.stdout)).toMatchObject({ rows: { inputs: 720, predictions: 720, joined: 720 } });
});

test('the package brings no Node along, and only what is built', { timeout: timeoutMs }, async () => {
  await using folder = await temporaryFolder();
  const ferry = await installPacked(folder.path);
  const place = join(ferry, '..', '..');
  expect((await readdir(place)).toSorted()).toEqual(['README.md', 'dist', 'package.json']);
  const { stdout } = await run('cat', [join(place, 'package.json')]);
  expect(JSON.parse(stdout)).not.toHaveProperty('optionalDependencies');
});

/** Builds and packs the checkout and lays the package out as npm would, beside the checkout's dependencies; gives `ferry`'s path. */
async function installPacked(folder: string): Promise<string> {
  await run(process.execPath, [join(root, '.build/build.ts')], { cwd: root });
  await run('npm', ['pack', '--pack-destination', folder], { cwd: root });
  const modules = join(folder, 'node_modules');
  await mkdir(modules);
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (name !== 'modelferry') await symlink(join(root, 'node_modules', name), join(modules, name));
  }
  const [archive] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  await run('tar', ['-xzf', join(folder, archive ?? ''), '-C', modules, '--transform', 's/^package/modelferry/']);
  return join(modules, 'modelferry', 'dist', 'ferry.mjs');
}
