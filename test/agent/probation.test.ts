import { expect, test } from 'vitest';
import { moduleSpec, type ModuleSpec } from '../../agent/module-spec.ts';
import type { ObservedModule } from '../../agent/plan.ts';
import { Probation } from '../../agent/probation.ts';
import { edgeModuleSchema } from '../../shared/edge/manifest.ts';

function spec(name: string, changes: Record<string, unknown> = {}): ModuleSpec {
  return moduleSpec(
    name,
    edgeModuleSchema.parse({ type: 'docker', settings: { image: 'a:1' }, restartPolicy: 'always', ...changes }),
  );
}

function running(of: ModuleSpec, changes: Partial<ObservedModule> = {}): ReadonlyMap<string, ObservedModule> {
  return new Map([
    [of.name, { fingerprint: of.fingerprint, status: 'running', exitCode: 0, restartCount: 0, ...changes }],
  ]);
}

const silent = async (): Promise<undefined> => undefined;

test('Probation proves a state whose modules are ready and stay so for a minute', async () => {
  let isReady = false;
  const probation = new Probation(async () => isReady);
  const digits = spec('digits');
  expect(await probation.look([digits], running(digits), 0)).toEqual({ kind: 'starting' });
  isReady = true;
  expect(await probation.look([digits], running(digits), 1_000)).toEqual({ kind: 'ready' });
  isReady = false;
  expect(await probation.look([digits], running(digits), 60_999)).toEqual({ kind: 'ready' });
  expect(await probation.look([digits], running(digits), 61_000)).toEqual({ kind: 'proven' });
});

test('Probation fails a module that is not ready after a minute of running, however long its image took', async () => {
  const probation = new Probation(async () => false);
  const digits = spec('digits');
  expect(await probation.look([digits], new Map(), 0)).toEqual({ kind: 'starting' });
  expect(await probation.look([digits], running(digits, { fingerprint: 'another' }), 500_000)).toEqual({
    kind: 'starting',
  });
  expect(await probation.look([digits], running(digits), 600_000)).toEqual({ kind: 'starting' });
  expect(await probation.look([digits], running(digits), 660_000)).toMatchObject({
    kind: 'failed',
    module: 'digits',
    reason: expect.stringContaining('60 s'),
  });
});

test('Probation forgives a module that ends once, and fails one that ends twice, also after it was ready', async () => {
  const probation = new Probation(silent);
  const digits = spec('digits');
  expect(await probation.look([digits], running(digits), 0)).toEqual({ kind: 'ready' });
  const once = running(digits, { status: 'exited', exitCode: 3, downForMs: 0 });
  expect(await probation.look([digits], once, 1_000)).toEqual({ kind: 'ready' });
  expect(await probation.look([digits], running(digits, { restartCount: 1 }), 2_000)).toEqual({ kind: 'ready' });
  const twice = running(digits, { status: 'exited', exitCode: 3, downForMs: 0, restartCount: 1 });
  expect(await probation.look([digits], twice, 3_000)).toMatchObject({
    kind: 'failed',
    reason: 'it ended by itself 2 times, last with exit code 3',
  });
});

test('Probation takes a job that has done its work for ready, and asks nothing of what is to be stopped', async () => {
  const job = spec('job', { restartPolicy: 'on-failure' });
  const done = running(job, { status: 'exited', exitCode: 0, downForMs: 0 });
  expect(await new Probation(async () => false).look([job], done, 0)).toEqual({ kind: 'ready' });
  const stopped = spec('stopped', { status: 'stopped' });
  expect(await new Probation(async () => false).look([stopped], new Map(), 0)).toEqual({ kind: 'ready' });
});
