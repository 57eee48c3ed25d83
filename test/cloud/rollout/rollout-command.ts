import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type FerryRun, runFerry } from '../../ferry.ts';
import type { RolloutRig } from './rollout-rig.ts';

/** Adds devices with a tag `ring` each: as many as are wanted of each ring. */
export async function addDevices(rig: RolloutRig, rings: Readonly<Record<string, number>>): Promise<string[]> {
  const rows = Object.entries(rings).flatMap(([ring, count]) =>
    Array.from({ length: count }, (_, index) => `${ring}-${index},${ring}`),
  );
  const file = join(rig.folder, 'devices.csv');
  await writeFile(file, `deviceId,ring\n${rows.join('\n')}\n`);
  const run = await runFerry(['edge', 'device', 'import', file, '--json'], { cwd: rig.folder });
  expect(run.stderr).toBe('');
  expect(JSON.parse(run.stdout)).toMatchObject({ added: rows.length });
  return rows.map((row) => row.slice(0, row.indexOf(',')));
}

/** Runs `ferry edge rollout start` for a version of the image. */
export function startRollout(rig: RolloutRig, version: number, ...more: readonly string[]): Promise<FerryRun> {
  return runFerry(rolloutArguments(version, ...more), { cwd: rig.folder });
}

/** Gives the arguments of `ferry` for the rollout of a version, in two stages where none is given. */
export function rolloutArguments(version: number, ...more: readonly string[]): string[] {
  const stages = more.includes('--stage') ? [] : ['--stage', 'ring=canary bake=0s', '--stage', '100% bake=0s name=all'];
  const scope = ['--target-condition', "tags.ring IN ['canary', 'rest']"];
  return ['edge', 'rollout', 'start', 'digits', '--image', `digits:${version}`, ...scope, ...stages, ...more];
}
