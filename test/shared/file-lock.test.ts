import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FileLock } from '../../shared/file-lock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const lockModule = new URL('../../shared/file-lock.ts', import.meta.url).href;

test('FileLock.run() lets one caller in at a time, in their order', async () => {
  await using folder = await temporaryFolder();
  const lock = new FileLock(join(folder.path, 'lock'));
  const order: string[] = [];
  await Promise.all(
    [0, 1, 2, 3].map((caller) =>
      lock.run(async () => {
        order.push(`in ${caller}`);
        await sleep(2);
        order.push(`out ${caller}`);
      }),
    ),
  );
  expect(order).toEqual(['in 0', 'out 0', 'in 1', 'out 1', 'in 2', 'out 2', 'in 3', 'out 3']);
});

test('FileLock.run() loses no increment of processes that read and write one file', async () => {
  await using folder = await temporaryFolder();
  const counter = join(folder.path, 'counter');
  await writeFile(counter, '0');
  const increment = `for (let i = 0; i < 50; i += 1) await lock.run(async () => {
    await writeFile(counter, String(Number(await readFile(counter, 'utf8')) + 1));
  });`;
  const children = [0, 1, 2].map(() => startHolder(folder.path, increment));
  expect(await Promise.all(children.map(exitCode))).toEqual([0, 0, 0]);
  expect(await readFile(counter, 'utf8')).toBe('150');
});

test('FileLock.run() ends with the name of the file when its time is over', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'lock');
  await new FileLock(path).run(async () => {
    const waiting = new FileLock(path).run(async () => 'in', { timeoutMs: 30 });
    await expect(waiting).rejects.toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining(path) });
  });
});

test('FileLock.run() of a caller who gave up does not keep the next from its turn', async () => {
  await using folder = await temporaryFolder();
  const lock = new FileLock(join(folder.path, 'lock'));
  const given = new AbortController();
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>();
  const first = lock.run(() => hold);
  const second = lock.run(async () => 'second', { signal: given.signal });
  const third = lock.run(async () => 'third');
  given.abort(new Error('given up'));
  await expect(second).rejects.toThrow('given up');
  letGo();
  await first;
  expect(await third).toBe('third');
});

test('FileLock.run() lets go when its work fails', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'lock');
  await expect(new FileLock(path).run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await new FileLock(path).run(async () => 'free', { timeoutMs: 100 })).toBe('free');
});

test('FileLock.run() is free again at once when its holder is killed', async () => {
  await using folder = await temporaryFolder();
  const holder = startHolder(
    folder.path,
    "await lock.run(() => new Promise(() => { process.stdout.write('held'); setInterval(() => {}, 1000); }));",
  );
  const { stdout } = holder;
  if (stdout === null) throw new Error('The holder has no output');
  await once(stdout, 'data');
  const lock = new FileLock(join(folder.path, 'lock'));
  await expect(lock.run(async () => 'in', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  expect(await lock.run(async () => 'in', { timeoutMs: 1000 })).toBe('in');
});

test('FileLock.run() refuses a path that cannot be a file', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'lock');
  await mkdir(path);
  await expect(new FileLock(path).run(async () => 'in')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
});

function startHolder(folder: string, code: string): ChildProcess {
  const program = `
    import { readFile, writeFile } from 'node:fs/promises';
    import { FileLock } from ${JSON.stringify(lockModule)};
    const lock = new FileLock(${JSON.stringify(join(folder, 'lock'))});
    const counter = ${JSON.stringify(join(folder, 'counter'))};
    ${code}`;
  return spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  await once(child, 'exit');
  return child.exitCode;
}
