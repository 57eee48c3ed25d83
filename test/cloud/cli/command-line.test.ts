import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { findProgram } from '../../../shared/programs.ts';
import { productVersion } from '../../../shared/version.ts';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

test('ferry --help lists the nouns and exits 0', async () => {
  await using folder = await temporaryFolder();
  const { code, stdout } = await runFerry(['--help'], { cwd: folder.path });
  expect(code).toBe(0);
  expect(stdout).toMatch(/workspace .*\n[^]*\bup\b/);
});

test('ferry --version prints the version and exits 0', async () => {
  await using folder = await temporaryFolder();
  const { code, stdout } = await runFerry(['--version'], { cwd: folder.path });
  expect(code).toBe(0);
  expect(stdout).toBe(`${productVersion}\n`);
});

test('ferry does what it is asked, and complains of nothing, where nobody reads its output any more', async () => {
  await using folder = await temporaryFolder();
  const child = spawn(process.execPath, [findProgram('ferry').path, 'workspace', 'init', '--name', 'lab'], {
    cwd: folder.path,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  expect([code, stderr]).toEqual([0, '']);
  expect((await runFerry(['workspace', 'show'], { cwd: folder.path })).stdout).toContain('lab');
});

test.each([[['nonsense']], [['workspace', 'nonsense']], [['workspace', 'show', '--nonsense']], [[]], [['workspace']]])(
  'ferry %j is a usage error',
  async (args) => {
    await using folder = await temporaryFolder();
    const { code, stdout, stderr } = await runFerry(args, { cwd: folder.path });
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error USAGE: |^Usage: /);
  },
);

test('a failure prints its code, what is wrong, and what to do next, and exits 1', async () => {
  await using folder = await temporaryFolder();
  const { code, stdout, stderr } = await runFerry(['workspace', 'show'], { cwd: folder.path });
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^error WORKSPACE_NOT_FOUND: Cannot find a workspace: .*\nnext: .*ferry workspace init/);
});

test('--json prints one document on standard output', async () => {
  await using folder = await temporaryFolder();
  await runFerry(['workspace', 'init', '--name', 'lab'], { cwd: folder.path });
  const { stdout } = await runFerry(['workspace', 'show', '--json'], { cwd: folder.path });
  expect(JSON.parse(stdout)).toMatchObject({ name: 'lab', resourceGroup: 'local' });
});

test('FERRY_WORKSPACE and --workspace say which workspace is meant', async () => {
  await using folder = await temporaryFolder();
  await using elsewhere = await temporaryFolder();
  await runFerry(['workspace', 'init', '--name', 'lab'], { cwd: folder.path });
  const env = { FERRY_WORKSPACE: folder.path };
  const byVariable = await runFerry(['workspace', 'show', '--json'], { cwd: elsewhere.path, env });
  const byOption = await runFerry(['workspace', 'show', '--json', '--workspace', folder.path], { cwd: elsewhere.path });
  expect(JSON.parse(byVariable.stdout)).toMatchObject({ name: 'lab' });
  expect(byOption.stdout).toBe(byVariable.stdout);
});
