import { spawn } from 'node:child_process';
import { chmod, cp, mkdir, readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { bundleServer } from '../../../cloud/images/server-bundle.ts';
import { findProgram } from '../../../shared/programs.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { digitsFile, logisticFile } from '../workspace-rig.ts';
import { doublePackage, lockOf, writeFiles } from './script/script-rig.ts';

const onLinux = process.platform === 'linux';
const isRoot = process.getuid?.() === 0;

const project = {
  'score.ts': "import double from 'double';\nexport const run = (input: { x: number }): number => double(input.x);\n",
  'data/a.txt': 'a',
  'data/deep/b.txt': 'b',
  'words.txt': 'c',
  'package-lock.json': lockOf('1.2.3'),
  ...doublePackage,
};
const options: readonly (readonly string[])[] = [
  ['--model', 'digits:1'],
  ['--model', 'other'],
  ['--name', 'both'],
  ['--include', 'data'],
  ['--include', 'words.txt'],
  ['--label', 'org.opencontainers.image.source=https://example.com'],
  ['--label', 'com.example.team=vision'],
  ['--flavor', 'edge'],
];

/** How a run differs from another one of the same inputs. */
interface Surroundings {
  readonly folder: string;
  readonly umask: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly options: readonly (readonly string[])[];
  /** @default this process's own */
  readonly user?: number;
}

test.runIf(onLinux)(
  'an image has the same digest in another folder, order, time, zone, language, mode and for another user',
  async () => {
    await using one = await temporaryFolder();
    await using two = await temporaryFolder();
    const elsewhere = join(two.path, 'quite', 'elsewhere');
    await writeFiles(one.path, project);
    await cp(one.path, elsewhere, { recursive: true });
    await makeOdd(elsewhere);
    const user = isRoot ? { user: 65_534 } : {};
    if (isRoot) for (const folder of [two.path, join(two.path, 'quite'), elsewhere]) await chmod(folder, 0o777);
    const first = await digestOf({ folder: one.path, umask: '022', environment: { TZ: 'UTC', LC_ALL: 'C' }, options });
    const second = await digestOf({
      folder: elsewhere,
      umask: '077',
      environment: {
        TZ: 'Asia/Kathmandu',
        LC_ALL: 'tr_TR.UTF-8',
        LANG: 'tr_TR.UTF-8',
        HOME: elsewhere,
        NODE_ENV: 'test',
      },
      options: [...options.toReversed(), ['--tag', 'any=tag'], ['--description', 'other words']],
      ...user,
    });
    expect(second).toBe(first);
  },
  120_000,
);

test('bundleServer() gives no path of this machine away', async () => {
  const { modules } = await bundleServer();
  for (const { content } of modules) expect(Buffer.from(content).toString()).not.toContain(process.cwd());
});

/** Makes a workspace, registers two models and builds the image, all by the command line. */
async function digestOf(surroundings: Surroundings): Promise<string> {
  await ferry(surroundings, ['workspace', 'init']);
  await ferry(surroundings, ['model', 'register', digitsFile, '--name', 'digits']);
  await ferry(surroundings, ['model', 'register', logisticFile, '--name', 'other']);
  const args = surroundings.options.flat();
  const made = await ferry(surroundings, ['image', 'create', '--json', '--script', 'score.ts', ...args]);
  return (JSON.parse(made) as { digest: string }).digest;
}

async function ferry({ folder, umask, environment, user }: Surroundings, args: readonly string[]): Promise<string> {
  const command = ['-c', `umask ${umask}; exec "$@"`, 'sh', process.execPath, findProgram('ferry').path, ...args];
  const child = spawn('/bin/sh', command, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(user !== undefined && { uid: user, gid: user }),
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(stderr).toBe('');
  return stdout;
}

/** Gives files other times and modes. */
async function makeOdd(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    await chmod(path, entry.isDirectory() ? 0o777 : 0o766);
    await utimes(path, 1_000_000_000, 1_000_000_000);
  }
  await mkdir(join(folder, 'unrelated'));
}
