import { expect, test } from 'vitest';
import { moduleSpec, type ModuleSpec } from '../../agent/module-spec.ts';
import type { ObservedModule } from '../../agent/plan.ts';
import type { Proof } from '../../agent/ask-proof.ts';
import type { RequestCounts } from '../../agent/ask-requests.ts';
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

/** A probation of modules that give such a proof, and such figures. */
function probationOf(
  proof: () => Proof,
  changes: { requests?: () => RequestCounts | undefined; failedBefore?: number } = {},
): Probation {
  return new Probation({
    askProof: async () => proof(),
    askRequests: async () => changes.requests?.(),
    failedBefore: () => changes.failedBefore ?? 0,
  });
}

const good: Proof = { kind: 'good', scored: true };
const notYet: Proof = { kind: 'not yet', reason: 'it still loads' };
const silent: Proof = { kind: 'silent' };

test('Probation proves a state whose modules are ready and stay so for a minute', async () => {
  let isReady = false;
  const probation = probationOf(() => (isReady ? good : notYet));
  const digits = spec('digits');
  expect(await probation.look([digits], running(digits), 0)).toEqual({ kind: 'starting' });
  isReady = true;
  expect(await probation.look([digits], running(digits), 1_000)).toEqual({ kind: 'ready' });
  isReady = false;
  expect(await probation.look([digits], running(digits), 60_999)).toEqual({ kind: 'ready' });
  expect(await probation.look([digits], running(digits), 61_000)).toEqual({ kind: 'proven' });
});

test('Probation fails a module that is not ready after a minute of running, however long its image took', async () => {
  const probation = probationOf(() => notYet);
  const digits = spec('digits');
  expect(await probation.look([digits], new Map(), 0)).toEqual({ kind: 'starting' });
  expect(await probation.look([digits], running(digits, { fingerprint: 'another' }), 500_000)).toEqual({
    kind: 'starting',
  });
  expect(await probation.look([digits], running(digits), 600_000)).toEqual({ kind: 'starting' });
  expect(await probation.look([digits], running(digits), 660_000)).toMatchObject({
    kind: 'failed',
    module: 'digits',
    reason: 'it was not ready after 60 s: it still loads',
  });
});

test('Probation forgives a module that ends once, and fails one that ends twice, also after it was ready', async () => {
  const probation = probationOf(() => silent);
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
  expect(await probationOf(() => notYet).look([job], done, 0)).toEqual({ kind: 'ready' });
  const stopped = spec('stopped', { status: 'stopped' });
  expect(await probationOf(() => notYet).look([stopped], new Map(), 0)).toEqual({ kind: 'ready' });
});

test('Probation fails a module that scores its sample wrong at once', async () => {
  const digits = spec('digits');
  const probation = probationOf(() => ({ kind: 'wrong', reason: 'it scores its sample wrong: y is 1, 2 was wanted' }));
  expect(await probation.look([digits], running(digits), 0)).toEqual({
    kind: 'failed',
    module: 'digits',
    reason: 'it scores its sample wrong: y is 1, 2 was wanted',
  });
});

test('Probation fails a module that fails many more requests than the one before it', async () => {
  const digits = spec('digits');
  let requests = { answered: 100, failed: 90 };
  const probation = probationOf(() => good, { requests: () => requests, failedBefore: 0.25 });
  const look = async (atMs: number) => (await probation.look([digits], running(digits), atMs)).kind;
  expect(await look(0)).toBe('ready');
  // What was before it was first seen does not count.
  expect(await look(1_000)).toBe('ready');
  requests = { answered: 119, failed: 109 };
  expect(await look(2_000)).toBe('ready');
  requests = { answered: 140, failed: 104 };
  expect(await look(3_000)).toBe('ready');
  requests = { answered: 140, failed: 105 };
  expect(await probation.look([digits], running(digits), 4_000)).toEqual({
    kind: 'failed',
    module: 'digits',
    reason: 'it failed 15 of 40 requests, 38 % where it was 25 % before',
  });
});
