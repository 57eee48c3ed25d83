import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type DesiredState, readDesired } from '../../agent/desired-state.ts';
import { Generations, type Taking } from '../../agent/generations.ts';
import { edgeAgentDesired } from '../../shared/edge/build-manifest.ts';
import { temporaryFolder } from '../temporary-folder.ts';

function desired(image: string, version: number): { properties: object; state: DesiredState } {
  const properties = { ...edgeAgentDesired({ modules: { m: { image } } }), $version: version };
  const reading = readDesired(properties);
  if (reading.code !== 200) throw new Error(reading.description);
  return { properties, state: reading.state };
}

const take = (generations: Generations, image: string, version: number): Promise<Taking> => {
  const { properties, state } = desired(image, version);
  return generations.take(state, properties);
};

const imageOf = (generations: Generations): string | undefined => generations.current?.modules[0]?.image;

test('Generations goes back to what was ready before, and does not take again what was taken back until it changes', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'desired.json');
  const generations = await Generations.open(path, 'gate');
  expect(await take(generations, 'a:1', 1)).toEqual({ kind: 'taken' });
  expect(generations.hasFallback).toBe(false);
  await generations.noteReady();
  expect(await take(generations, 'a:2', 2)).toEqual({ kind: 'taken' });
  await generations.goBack('it broke');
  expect(imageOf(generations)).toBe('a:1');
  for (const now of [generations, await Generations.open(path, 'gate')]) {
    expect(await take(now, 'a:2', 2)).toEqual({ kind: 'rejected', reason: 'it broke' });
    expect(imageOf(now)).toBe('a:1');
  }
  expect(await take(generations, 'a:3', 3)).toEqual({ kind: 'taken' });
});

test('Generations takes up after a restart what was ready, and else what ran before', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'desired.json');
  const generations = await Generations.open(path, 'gate');
  await take(generations, 'a:1', 1);
  expect(imageOf(await Generations.open(path, 'gate'))).toBe('a:1');
  await generations.noteReady();
  await take(generations, 'a:2', 2);
  expect(imageOf(await Generations.open(path, 'gate'))).toBe('a:1');
  await generations.noteReady();
  const again = await Generations.open(path, 'gate');
  expect([imageOf(again), again.hasFallback, again.isOnProbation]).toEqual(['a:2', true, true]);
  await again.commit();
  const proven = await Generations.open(path, 'gate');
  expect([imageOf(proven), proven.hasFallback, proven.isOnProbation]).toEqual(['a:2', false, false]);
});

test('Generations skips a state that was never ready when it chooses what to go back to', async () => {
  await using folder = await temporaryFolder();
  const generations = await Generations.open(join(folder.path, 'desired.json'), 'gate');
  await take(generations, 'good:1', 1);
  await generations.noteReady();
  await take(generations, 'bad:1', 2);
  await take(generations, 'bad:2', 3);
  await generations.goBack('it broke');
  expect(imageOf(generations)).toBe('good:1');
});

test('Generations keeps what is in force when it comes under another version', async () => {
  await using folder = await temporaryFolder();
  const generations = await Generations.open(join(folder.path, 'desired.json'), 'gate');
  await take(generations, 'a:1', 1);
  expect(await take(generations, 'a:1', 2)).toEqual({ kind: 'kept' });
  expect(generations.current?.version).toBe(2);
});

test("Generations starts with nothing on another device's file and on a damaged one, and lets nobody else read its own", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'desired.json');
  await take(await Generations.open(path, 'gate'), 'a:1', 1);
  const [file = ''] = await readdir(join(folder.path, 'generations'));
  for (const secret of [path, join(folder.path, 'generations', file)]) {
    expect((await stat(secret)).mode & 0o777).toBe(0o600);
  }
  expect((await Generations.open(path, 'another')).current).toBeUndefined();
  await writeFile(path, '{"deviceId":"gate","curr');
  expect((await Generations.open(path, 'gate')).current).toBeUndefined();
});

test('Generations never changes the file of one: going back only points elsewhere', async () => {
  await using folder = await temporaryFolder();
  const generations = await Generations.open(join(folder.path, 'desired.json'), 'gate');
  const files = async (): Promise<Record<string, string>> => {
    const names = await readdir(join(folder.path, 'generations'));
    const read = async (name: string) =>
      [name, await readFile(join(folder.path, 'generations', name), 'utf8')] as const;
    return Object.fromEntries(await Promise.all(names.map(read)));
  };
  await take(generations, 'a:1', 1);
  await generations.noteReady();
  const first = await files();
  await take(generations, 'a:2', 2);
  expect(await files()).toMatchObject(first);
  expect(Object.keys(await files())).toHaveLength(2);
  await generations.goBack('it broke');
  expect(await files()).toEqual(first);
});

test('pain 16, a power cut corrupts the state: Generations goes on with what ran before when the file of the one in force is damaged', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'desired.json');
  const generations = await Generations.open(path, 'gate');
  await take(generations, 'a:1', 1);
  await generations.noteReady();
  const [before] = await readdir(join(folder.path, 'generations'));
  await take(generations, 'a:2', 2);
  await generations.noteReady();
  const names = await readdir(join(folder.path, 'generations'));
  const current = names.find((name) => name !== before) ?? '';
  await writeFile(join(folder.path, 'generations', current), '{"schemaVersion":"1.1","mod');
  expect(imageOf(await Generations.open(path, 'gate'))).toBe('a:1');
});
