import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Rig } from '../agent/rig.ts';
import { canMount, smallDisk } from '../cloud/small-disk.ts';
import { until } from '../until.ts';

if (!canMount) console.warn('nothing can be mounted here: the test of the agent on a full disk is skipped');

test.skipIf(!canMount)(
  'pain 15, a disk that is full: runAgent() lets run what runs, starts again what ends, says why, and goes on when there is room',
  async () => {
    await using disk = await smallDisk(192 * 1024 * 1024);
    await using rig = await Rig.open({ stateFolder: join(disk.path, 'state') });
    await using _agent = rig.startAgent();
    const image = await rig.putImage();
    await rig.reported(await rig.deploy({ digits: { image, env: { WORD: 'first' } } }), 200, 60_000);
    const pidOf = (): Promise<string> => readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8');
    const before = await until(pidOf);
    const filler = join(disk.path, 'filler');
    await fill(filler);

    const version = await rig.deploy({ digits: { image, env: { WORD: 'second' } } });
    const { lastDesiredStatus, modules } = await rig.reported(version, 500, 60_000);
    expect(lastDesiredStatus?.description).toMatch(/Cannot keep the deployment on the disk: .*ENOSPC/);
    expect(modules).toMatchObject({ digits: { runtimeStatus: 'running' } });
    process.kill(Number(before), 0);
    process.kill(Number(before), 'SIGKILL');
    const begun = modules?.['digits']?.lastStartTimeUtc;
    await until(
      async () => {
        const module = (await rig.twin()).properties.reported.modules?.['digits'];
        return module?.runtimeStatus === 'running' && module.lastStartTimeUtc !== begun;
      },
      { timeoutMs: 60_000, what: 'the module is started again on the full disk' },
    );

    await rm(filler);
    const after = await rig.reported(version, 200, 60_000);
    expect(after.modules).toMatchObject({ digits: { env: { WORD: { value: 'second' } } } });
  },
  240_000,
);

/** Fills a disk to the last byte. */
async function fill(path: string): Promise<void> {
  for (let bytes = 1024 * 1024; bytes >= 1; bytes = Math.floor(bytes / 2)) {
    const piece = Buffer.alloc(bytes);
    for (;;) {
      try {
        await writeFile(path, piece, { flag: 'a' });
      } catch {
        break;
      }
    }
  }
}
