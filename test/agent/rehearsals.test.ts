import { expect, test } from 'vitest';
import type { Proof } from '../../agent/ask-proof.ts';
import type { ObservedRehearsal } from '../../agent/device-look.ts';
import { moduleSpec } from '../../agent/module-spec.ts';
import { proofKey } from '../../agent/plan.ts';
import { Rehearsals } from '../../agent/rehearsals.ts';
import type { Clock } from '../../shared/clock.ts';
import { edgeModuleSchema } from '../../shared/edge/manifest.ts';
import { createLogger } from '../../shared/log.ts';
import { until } from '../until.ts';

const createOptions = JSON.stringify({ HostConfig: { PortBindings: { '5001/tcp': [{ HostPort: '5001' }] } } });
const spec = moduleSpec('m', edgeModuleSchema.parse({ type: 'docker', settings: { image: 'm:1', createOptions } }));

function rehearsal(
  startedAt: string,
  changes: Partial<ObservedRehearsal> = {},
): ReadonlyMap<string, ObservedRehearsal> {
  const container = { name: 'm.rehearsal', labels: {}, status: 'running', exitCode: 0, startedAt } as const;
  const { fingerprint } = spec;
  return new Map([['m', { fingerprint, status: 'running', exitCode: 0, restartCount: 0, container, ...changes }]]);
}

/** Rehearsals that are asked for such a proof, by a clock that is never waited for. */
function rehearsalsOf(proof: () => Proof): { rehearsals: Rehearsals; asked: () => number } {
  let [asked, nowMs] = [0, 0];
  const clock: Clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  };
  const askProof = async (): Promise<Proof> => {
    asked += 1;
    return proof();
  };
  const log = createLogger('test', { level: 'silent' });
  return { rehearsals: new Rehearsals({ askProof, onEnd: () => undefined, clock, log }), asked: () => asked };
}

test('Rehearsals asks until a module is good, and remembers it', async () => {
  let left = 3;
  const { rehearsals } = rehearsalsOf(() =>
    (left -= 1) > 0 ? { kind: 'not yet', reason: 'it loads' } : { kind: 'good', scored: true },
  );
  rehearsals.look([spec], rehearsal('1'));
  await until(() => rehearsals.proven.has(proofKey(spec)));
  expect(rehearsals.takeFailed()).toBeUndefined();
  rehearsals.clear();
  expect(rehearsals.proven.size).toBe(0);
});

test('Rehearsals fails a module that is not good after a minute, with what it said last', async () => {
  const { rehearsals } = rehearsalsOf(() => ({ kind: 'not yet', reason: 'it loads' }));
  rehearsals.look([spec], rehearsal('1'));
  expect(await until(() => rehearsals.takeFailed())).toEqual({
    module: 'm',
    reason: 'it was not good after 60 s: it loads',
  });
  expect(rehearsals.takeFailed()).toBeUndefined();
});

test('Rehearsals fails a module at once that scores wrong', async () => {
  const { rehearsals, asked } = rehearsalsOf(() => ({ kind: 'wrong', reason: 'y is 1, 2 was wanted' }));
  rehearsals.look([spec], rehearsal('1'));
  expect(await until(() => rehearsals.takeFailed())).toEqual({ module: 'm', reason: 'y is 1, 2 was wanted' });
  expect(asked()).toBe(1);
});

test('Rehearsals forgives one end, and fails a module that ends twice before anybody saw it run', () => {
  const { rehearsals } = rehearsalsOf(() => ({ kind: 'silent' }));
  const ended = { status: 'exited', exitCode: 3 } as const;
  for (const startedAt of ['1', '1']) rehearsals.look([spec], rehearsal(startedAt, ended));
  expect(rehearsals.takeFailed()).toBeUndefined();
  rehearsals.look([spec], rehearsal('2', ended));
  expect(rehearsals.takeFailed()).toEqual({
    module: 'm',
    reason: 'it ended by itself 2 times, last with exit code 3',
  });
});

test('Rehearsals asks nothing of what is not wanted, and stops to ask when the rehearsal is gone', async () => {
  const { rehearsals, asked } = rehearsalsOf(() => ({ kind: 'good', scored: false }));
  rehearsals.look([], rehearsal('1'));
  rehearsals.look([spec], rehearsal('1', { fingerprint: 'another' }));
  rehearsals.look([spec], new Map());
  expect([asked(), rehearsals.proven.size]).toEqual([0, 0]);
});
