import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { dockerAnswers } from '../docker.ts';
import { type FerryRun, runFerry } from '../ferry.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** Longer than the journey takes on a busy machine; how long it does take, the bench `quickstart` measures. */
const journeyTimeoutMs = 180_000;

test('the quickstart does the whole job with a supervised process', { timeout: journeyTimeoutMs }, async () => {
  await using folder = await temporaryFolder();
  expectWholeJob(await quickstart(folder.path, ['--engine', 'process']), 'process');
  await expectNothingLeft(folder.path);
});

// Skipped where no Docker engine answers.
test.skipIf(!dockerAnswers)(
  'the quickstart does the whole job with a container',
  { timeout: journeyTimeoutMs },
  async () => {
    await using folder = await temporaryFolder();
    expectWholeJob(await quickstart(folder.path, ['--engine', 'docker']), 'docker');
    await expectNothingLeft(folder.path);
  },
);

test(
  'a step that fails ends the quickstart with its error, and everything is stopped',
  { timeout: journeyTimeoutMs },
  async () => {
    await using folder = await temporaryFolder();
    const run = await quickstart(folder.path, ['--engine', 'docker'], { DOCKER_HOST: 'tcp://127.0.0.1:1' });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/error STEP_FAILED: [^]*error ENGINE_FAILED: /);
    expect(run.stdout).toBe('');
    await expectNothingLeft(folder.path);
  },
);

/** Runs it with its temporary folders inside of the test's own folder, so that whatever it leaves is seen. */
function quickstart(
  folder: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<FerryRun> {
  return runFerry(['quickstart', '--json', ...args], { cwd: folder, env: { ...env, TMPDIR: folder } });
}

function expectWholeJob(run: FerryRun, engine: string): void {
  expect({ code: run.code, stderr: run.code === 0 ? '' : run.stderr }).toEqual({ code: 0, stderr: '' });
  const summary = JSON.parse(run.stdout) as { accuracy: number; device: string; rows: object; deployment: object };
  // Counted from the published accuracy of the model: 355 of 360 rows.
  expect(summary.accuracy).toBeCloseTo(0.9861, 4);
  expect(summary.device).toContain(engine);
  expect(summary.rows).toMatchObject({ inputs: 720, predictions: 720, joined: 720, missing: 0, doubled: 0 });
  expect(summary.deployment).toMatchObject({ appliedCount: 1, reportedSuccessfulCount: 1, reportedFailedCount: 0 });
}

/** Neither a file nor a process of the quickstart is there any more; its processes all have its folder in their arguments. */
async function expectNothingLeft(folder: string): Promise<void> {
  // Node's own cache of compiled modules goes to the folder for temporary files.
  expect((await readdir(folder)).filter((name) => name !== 'node-compile-cache')).toEqual([]);
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const commands = await Promise.all(
    processes.map((name) => readFile(join('/proc', name, 'environ'), 'latin1').catch(() => '')),
  );
  expect(commands.filter((environment) => environment.includes(`TMPDIR=${folder}\0`))).toEqual([]);
}
