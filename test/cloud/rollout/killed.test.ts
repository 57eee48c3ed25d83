import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { addDevices, rolloutArguments, startRollout } from './rollout-command.ts';
import { openRolloutRig, type RolloutRig } from './rollout-rig.ts';

/** At how many of its steps each of the two rollouts is killed, evenly over all: a number, or `all`. */
const given = process.env['ROLLOUT_KILL_POINTS'] ?? '4';
const points = given === 'all' ? Number.POSITIVE_INFINITY : Number(given);
const killer = `--import=${fileURLToPath(new URL('./kill-at-process.ts', import.meta.url))}`;
const bad = 3;
const timeout = Number.isFinite(points) ? 300_000 : 3_600_000;

test(`a rollout that is killed at its steps (${given} of each) ends as one that was not`, { timeout }, async () => {
  await using rig = await openRolloutRig(4);
  const ids = await addDevices(rig, { canary: 1, rest: 2 });
  await rig.connect(ids, (image) => (image === rig.reference(bad) ? { code: 500, description: 'no' } : { code: 200 }));
  // In turns, so that there is always something to do.
  const good = [2, 4];
  expect((await startRollout(rig, 1)).code).toBe(0);
  const stepsOfGood = await countSteps(rig, 2, 0);
  const stepsOfBad = await countSteps(rig, bad, 1);
  expect(stepsOfGood).toBeGreaterThan(20);
  let [runs, kills] = [2, 0];
  for (const [which, killAt] of [...spread(stepsOfGood), ...spread(stepsOfBad)].entries()) {
    const isGood = which < spread(stepsOfGood).length;
    runs += isGood ? 1 : 0;
    const version = isGood ? (good[runs % 2] ?? 0) : bad;
    const before = isGood ? version : (good[runs % 2] ?? 0);
    const wanted = rig.reference(isGood ? version : before);
    const killed = await kill(rig, version, killAt);
    const end = await goOn(rig, version);
    // One that looked less often than the one that was counted may have ended before.
    if (killed.code === null) kills += 1;
    expect({ killAt, version, code: end.code }).toEqual({ killAt, version, code: isGood ? 0 : 1 });
    await expect.poll(() => new Set(Object.values(rig.running()))).toEqual(new Set([wanted]));
    expect(ids.filter((id) => rig.everRan.get(id)?.has(rig.reference(bad)))).toEqual(['canary-0']);
    const list = async (...noun: string[]): Promise<unknown> =>
      JSON.parse((await runFerry([...noun, 'list', '--json'], { cwd: rig.folder })).stdout);
    // Those that were halted stay beside the one that is in force, until the next is done; nothing else does.
    const phases = ((await list('edge', 'rollout')) as { phase: string }[]).map(({ phase }) => phase);
    expect(phases.filter((phase) => phase !== 'halted')).toEqual(['done']);
    expect(phases.includes('halted')).toBe(!isGood);
    expect(await list('edge', 'deployment')).toHaveLength(phases.length);
    expect(await list('service')).toMatchObject([{ name: 'digits', image: `digits:${before}` }]);
  }
  const wanted = spread(stepsOfGood).length + spread(stepsOfBad).length;
  process.stdout.write(`killed ${kills} of ${wanted} times, of ${stepsOfGood} and ${stepsOfBad} steps\n`);
  expect(kills).toBeGreaterThan(wanted / 2);
});

/** Counts the steps of a rollout that nobody kills. */
async function countSteps(rig: RolloutRig, version: number, code: number): Promise<number> {
  const file = join(rig.folder, `steps-${version}`);
  const env = { NODE_OPTIONS: killer, STEPS_FILE: file };
  const run = await runFerry(rolloutArguments(version), { cwd: rig.folder, env });
  expect(run.code).toBe(code);
  return Number(await readFile(file, 'utf8'));
}

function kill(rig: RolloutRig, version: number, killAt: number) {
  const env = { NODE_OPTIONS: killer, KILL_AT: String(killAt) };
  return runFerry(rolloutArguments(version), { cwd: rig.folder, env });
}

/** Goes on with a rollout as an operator does, who finds it begun or not. */
async function goOn(rig: RolloutRig, version: number) {
  const found = await runFerry(['edge', 'rollout', 'list', '--json'], { cwd: rig.folder });
  const [latest] = JSON.parse(found.stdout) as { readonly image: string }[];
  if (latest?.image !== `digits:${version}`) return startRollout(rig, version);
  return runFerry(['edge', 'rollout', 'resume', 'digits'], { cwd: rig.folder });
}

/** The steps at which is killed: all where there are no more than wanted. */
function spread(steps: number): number[] {
  const count = Math.min(steps, points);
  return Array.from({ length: count }, (_, index) => 1 + Math.floor((index * steps) / count));
}
