import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRolloutRig } from '../cloud/rollout/rollout-rig.ts';
import { runFerry } from '../ferry.ts';

test('an operator imports 200 devices, tags rings, and rolls out a good, a bad and a better version', async () => {
  await using rig = await openRolloutRig();
  const ferry = async (...args: string[]) => runFerry([...args, '--json'], { cwd: rig.folder });
  const ids = Array.from({ length: 200 }, (_, index) => `gw-${String(index).padStart(3, '0')}`);
  const file = join(rig.folder, 'devices.csv');
  const list = (ringOf: (index: number) => string) =>
    writeFile(file, `deviceId,site,ring\n${ids.map((id, index) => `${id},lab,${ringOf(index)}`).join('\n')}\n`);

  await list(() => '');
  expect(JSON.parse((await ferry('edge', 'device', 'import', file)).stdout)).toMatchObject({ added: 200 });
  await list((index) => (index < 5 ? 'canary' : index < 40 ? 'early' : 'rest'));
  const tagged = JSON.parse((await ferry('edge', 'device', 'import', file)).stdout);
  expect(tagged).toMatchObject({ added: 0, tagged: 200, failures: [] });
  expect(JSON.parse((await ferry('edge', 'device', 'import', file)).stdout)).toMatchObject({ unchanged: 200 });

  await rig.connect(ids, (image) =>
    image === rig.reference(2) ? { code: 500, description: 'module digits: exit code 1' } : { code: 200 },
  );
  const stages = ['ring=canary bake=0s', 'ring=early bake=0s', '50% bake=0s', '100% bake=0s name=all'];
  const rollOut = (version: number) =>
    ferry(
      'edge',
      'rollout',
      'start',
      'digits',
      '--image',
      `digits:${version}`,
      '--device-tag',
      'site=lab',
      ...stages.flatMap((stage) => ['--stage', stage]),
    );
  expect(JSON.parse((await rollOut(1)).stdout)).toMatchObject({ phase: 'done', touched: 200 });

  const bad = await rollOut(2);
  expect(bad.code).toBe(1);
  expect(JSON.parse(bad.stdout)).toMatchObject({ phase: 'halted', stage: { number: 1, of: 4 }, touched: 5 });
  expect(ids.filter((id) => rig.everRan.get(id)?.has(rig.reference(2)))).toEqual(ids.slice(0, 5));
  await expect.poll(() => new Set(Object.values(rig.running())).size).toBe(1);

  expect(JSON.parse((await rollOut(3)).stdout)).toMatchObject({ phase: 'done', touched: 200 });
  const shown = await ferry('edge', 'fleet', 'status');
  expect(shown.stderr).toBe('');
  const status = JSON.parse(shown.stdout);
  expect(status).toMatchObject({
    byVersion: { 'digits:3': { healthy: 200 } },
    byRing: { canary: { healthy: 5 }, early: { healthy: 35 }, rest: { healthy: 160 } },
  });
}, 240_000);
