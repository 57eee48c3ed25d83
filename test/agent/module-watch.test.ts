import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ModuleWatch } from '../../agent/module-watch.ts';
import type { ObservedModule } from '../../agent/plan.ts';
import type { ContainerState } from '../../shared/containers/engine.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const container = (status: ContainerState['status'], exitCode = 0): ContainerState => ({
  name: 'm',
  labels: {},
  status,
  exitCode,
});

function look(watch: ModuleWatch, state: ContainerState, nowMs: number): ObservedModule | undefined {
  return watch.observe([state], nowMs).get('m');
}

test('ModuleWatch knows since when a module is down that ended by itself', async () => {
  await using folder = await temporaryFolder();
  const watch = await ModuleWatch.open(join(folder.path, 'm.json'));
  look(watch, container('running'), 0);
  expect(look(watch, container('exited', 3), 5_000)).toMatchObject({ downForMs: 0, restartCount: 0 });
  expect(look(watch, container('exited', 3), 15_000)).toMatchObject({ downForMs: 10_000 });
});

test('ModuleWatch knows that a module ended by itself that nobody ever saw running', async () => {
  await using folder = await temporaryFolder();
  const watch = await ModuleWatch.open(join(folder.path, 'm.json'));
  watch.noteStarted('m', 0);
  expect(look(watch, container('exited', 1), 100)).toMatchObject({ downForMs: 0, restartCount: 0 });
  watch.noteStarted('m', 10_000);
  expect(look(watch, container('exited', 1), 10_100)).toMatchObject({ downForMs: 0, restartCount: 1 });
});

test('ModuleWatch does not take for a crash what the agent stopped', async () => {
  await using folder = await temporaryFolder();
  const watch = await ModuleWatch.open(join(folder.path, 'm.json'));
  look(watch, container('running'), 0);
  watch.noteStopped('m');
  expect(look(watch, container('exited', 143), 100)).not.toHaveProperty('downForMs');
});

test('ModuleWatch forgets the restarts of a module that has run well for ten minutes', async () => {
  await using folder = await temporaryFolder();
  const watch = await ModuleWatch.open(join(folder.path, 'm.json'));
  look(watch, container('running'), 0);
  look(watch, container('exited', 1), 1_000);
  watch.noteStarted('m', 11_000);
  expect(look(watch, container('running'), 610_999)).toMatchObject({ restartCount: 1 });
  expect(look(watch, container('running'), 611_000)).toMatchObject({ restartCount: 0 });
});

test('ModuleWatch keeps its counts over a restart, and takes what went down unseen for a power cut', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'm.json');
  const watch = await ModuleWatch.open(path);
  look(watch, container('running'), 0);
  look(watch, container('exited', 1), 1_000);
  watch.noteStarted('m', 11_000);
  await watch.save();
  const again = await ModuleWatch.open(path);
  const afterPowerCut = look(again, container('exited', 255), 0);
  expect(afterPowerCut).toMatchObject({ restartCount: 1 });
  expect(afterPowerCut).not.toHaveProperty('downForMs');
});

test('ModuleWatch does not start a job over again after a restart that was done before', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'm.json');
  const watch = await ModuleWatch.open(path);
  look(watch, container('running'), 0);
  look(watch, container('exited', 0), 1_000);
  await watch.save();
  expect(look(await ModuleWatch.open(path), container('exited', 0), 0)).toMatchObject({ downForMs: Infinity });
  const unknown = await ModuleWatch.open(join(folder.path, 'other.json'));
  expect(look(unknown, container('exited', 0), 0)).toMatchObject({ downForMs: Infinity });
});

test('ModuleWatch starts with nothing on a damaged file, and writes only what has changed', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'm.json');
  await writeFile(path, '{"m":');
  const watch = await ModuleWatch.open(path);
  look(watch, container('running'), 0);
  await watch.save();
  const text = await readFile(path, 'utf8');
  expect(JSON.parse(text)).toEqual({ m: { restartCount: 0, ended: false } });
  await writeFile(path, 'untouched');
  look(watch, container('running'), 1_000);
  await watch.save();
  expect(await readFile(path, 'utf8')).toBe('untouched');
});
