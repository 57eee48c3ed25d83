import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ImageStore } from '../../agent/images/image-store.ts';
import { ImageUsage } from '../../agent/images/image-usage.ts';
import { imageDigestLabel } from '../../agent/labels.ts';
import { systemClock } from '../../shared/clock.ts';
import { ProcessEngine } from '../../shared/containers/process/process-engine.ts';
import { createLogger } from '../../shared/log.ts';
import { Random } from '../random.ts';
import { putTestImage } from '../shared/containers/test-image.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { expectWholeImages } from './agent-leftovers.ts';

/** At how many of the steps it is killed; the number of all is found, and `all` takes them one by one. */
const points = process.env['CLEAR_KILL_POINTS'] ?? '4';
const seed = Number(process.env['FERRY_SEED'] ?? Date.now() % 1_000_000);
const run = promisify(execFile);
const log = createLogger('test', { level: 'silent' });

test(
  `clearing images, killed at any step, leaves what is used whole, and the next one takes what is not (FERRY_SEED=${seed})`,
  async () => {
    await using folder = await temporaryFolder();
    const template = join(folder.path, 'template');
    const images = await ImageStore.open(join(template, 'images'), { clock: systemClock, log });
    const engine = await ProcessEngine.open({ layout: images.layout, folder: template, log });
    const [used, ...unused] = [
      await putTestImage(images.layout, { script: 'one' }),
      await putTestImage(images.layout, { script: 'two' }),
      await putTestImage(images.layout, { script: 'three' }),
    ];
    for (const image of [used, ...unused]) await engine.prepareImage(image);
    const labels = { [imageDigestLabel]: used };
    const dataFolder = join(template, 'data');
    await mkdir(dataFolder);
    await engine.create({ name: 'm', image: used, environment: {}, settings: {}, dataFolder, labels });
    await (await ImageUsage.open(join(template, 'image-usage.json'))).note([used, ...unused], systemClock.nowMs());
    // As old as what has not been used for so long: what is young is never taken for garbage.
    const blobs = join(images.layout.folder, 'blobs', 'sha256');
    for (const name of await readdir(blobs)) await utimes(join(blobs, name), 0, 0);

    let at = 0;
    const clear = async (killAt: number): Promise<{ readonly folder: string; readonly ended: Promise<string> }> => {
      const copy = join(folder.path, `at-${(at += 1)}`);
      await cp(template, copy, { recursive: true, preserveTimestamps: true });
      return { folder: copy, ended: clearIn(copy, killAt) };
    };
    const whole = await clear(0);
    const steps = Number(await whole.ended);
    expect(steps).toBeGreaterThan(10);
    const random = new Random(seed);
    const all = Array.from({ length: steps }, (_, index) => index + 1);
    const chosen = points === 'all' ? all : Array.from({ length: Number(points) }, () => 1 + random.below(steps));
    for (const killAt of chosen) {
      const killed = await clear(killAt);
      await expect(killed.ended, `killed at step ${killAt} of ${steps}`).rejects.toMatchObject({ signal: 'SIGKILL' });
      await clearIn(killed.folder, 0);
      expect(await readdir(join(killed.folder, 'roots')), `step ${killAt}`).toEqual([used.replace(':', '-')]);
      await expectWholeImages({ stateFolder: killed.folder });
      const left = await ImageStore.open(join(killed.folder, 'images'), { clock: systemClock, log });
      expect(await left.layout.resolve('test', used)).toBeDefined();
      for (const image of unused) expect(await left.layout.hasBlob(image), `step ${killAt}`).toBe(false);
    }
  },
  60_000 + (points === 'all' ? 600_000 : Number(points) * 15_000),
);

async function clearIn(folder: string, killAt: number): Promise<string> {
  const program = new URL('clear-images-process.ts', import.meta.url).pathname;
  return (await run(process.execPath, [program, folder, String(killAt)])).stdout;
}
