import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clearImages, makeRoom } from '../../../agent/images/clear-images.ts';
import { ImageStore } from '../../../agent/images/image-store.ts';
import { ImageUsage } from '../../../agent/images/image-usage.ts';
import { imageDigestLabel } from '../../../agent/labels.ts';
import { systemClock } from '../../../shared/clock.ts';
import { ProcessEngine } from '../../../shared/containers/process/process-engine.ts';
import { createLogger } from '../../../shared/log.ts';
import { putTestImage } from '../../shared/containers/test-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const log = createLogger('test', { level: 'silent' });
const dayMs = 24 * 3_600_000;

test('clearImages() removes what no container was made from for seven days, from the engine and the store', async () => {
  await using folder = await temporaryFolder();
  const images = await ImageStore.open(join(folder.path, 'images'), { clock: systemClock, log });
  const { layout } = images;
  const engine = await ProcessEngine.open({ layout, folder: join(folder.path, 'engine'), log });
  const [used, unused] = [await putTestImage(layout, { script: 'one' }), await putTestImage(layout, { script: 'two' })];
  for (const image of [used, unused]) await engine.prepareImage(image);
  const dataFolder = join(folder.path, 'data');
  await mkdir(dataFolder);
  const labels = { [imageDigestLabel]: used };
  await engine.create({ name: 'm', image: used, environment: {}, settings: {}, dataFolder, labels });
  const usage = await ImageUsage.open(join(folder.path, 'usage.json'));
  let nowMs = 0;
  const clock = { ...systemClock, nowMs: () => nowMs };
  await usage.note([used, unused], 0);
  const roots = async (): Promise<string[]> => readdir(join(folder.path, 'engine/roots'));

  nowMs = 7 * dayMs - 1;
  await clearImages({ engine, images, usage, clock, log });
  expect((await roots()).length).toBe(2);

  nowMs = 7 * dayMs;
  await clearImages({ engine, images, usage, clock, log });
  expect(await roots()).toEqual([used.replace(':', '-')]);
  expect(await layout.resolve('test', unused)).toBeUndefined();
  expect(await layout.resolve('test', used)).toBeDefined();
});

test('makeRoom() removes the images that were not used for longest until there is room, and none of the last hour', async () => {
  await using folder = await temporaryFolder();
  const images = await ImageStore.open(join(folder.path, 'images'), { clock: systemClock, log });
  const { layout } = images;
  const engine = await ProcessEngine.open({ layout, folder: join(folder.path, 'engine'), log });
  const [used, old, older, recent] = await Promise.all(
    ['used', 'old', 'older', 'recent'].map((script) => putTestImage(layout, { script })),
  );
  if (used === undefined || old === undefined || older === undefined || recent === undefined) throw new Error('four');
  const dataFolder = join(folder.path, 'data');
  await mkdir(dataFolder);
  const labels = { [imageDigestLabel]: used };
  await engine.create({ name: 'm', image: used, environment: {}, settings: {}, dataFolder, labels });
  const usage = await ImageUsage.open(join(folder.path, 'usage.json'));
  for (const [image, atMs] of [
    [used, 0],
    [older, 1_000],
    [old, 2_000],
    [recent, dayMs - 3_599_999],
  ] as const)
    await usage.note([image], atMs);
  const clock = { ...systemClock, nowMs: () => dayMs };
  const kept = async (): Promise<string[]> => {
    const names = { used, old, older, recent };
    const found = await Promise.all(
      Object.entries(names).map(async ([name, image]) => ((await layout.resolve('test', image)) ? [name] : [])),
    );
    return found.flat();
  };
  await makeRoom({ engine, images, usage, clock, log }, async () => !(await kept()).includes('older'));
  expect(await kept()).toEqual(['used', 'old', 'recent']);
  await makeRoom({ engine, images, usage, clock, log }, async () => false);
  expect(await kept()).toEqual(['used', 'recent']);
});

test('ImageUsage outlives a restart, and a damaged file makes nothing old', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'usage.json');
  const image = `sha256:${'a'.repeat(64)}` as const;
  await (await ImageUsage.open(path)).note([image], 1_000);
  const again = await ImageUsage.open(path);
  expect([again.unusedFor(500, 1_400), again.unusedFor(500, 1_500)]).toEqual([[], [image]]);
  await writeFile(path, '{"sha256:');
  expect((await ImageUsage.open(path)).unusedFor(0, Number.MAX_SAFE_INTEGER)).toEqual([]);
});

test('clearImages() removes what is left of a download that nobody went on with', async () => {
  await using folder = await temporaryFolder();
  const images = await ImageStore.open(join(folder.path, 'images'), { clock: systemClock, log });
  const engine = await ProcessEngine.open({ layout: images.layout, folder: join(folder.path, 'engine'), log });
  const usage = await ImageUsage.open(join(folder.path, 'usage.json'));
  const partial = join(images.layout.folder, 'partial');
  await mkdir(partial);
  await writeFile(join(partial, 'old'), 'x');
  await utimes(join(partial, 'old'), 0, 0);
  await writeFile(join(partial, 'young'), 'x');
  await clearImages({ engine, images, usage, clock: systemClock, log });
  expect(await readdir(partial)).toEqual(['young']);
});
