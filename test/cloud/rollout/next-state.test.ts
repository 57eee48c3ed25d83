import { array, assert, constantFrom, nat, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import type { DeviceOutcome, Observation } from '../../../cloud/rollout/gate.ts';
import { advanced, nextState } from '../../../cloud/rollout/next-state.ts';
import { checkRolloutRequest, type RolloutInput } from '../../../cloud/rollout/rollout-request.ts';
import { firstState, isOver, type RolloutState } from '../../../cloud/rollout/rollout-state.ts';

function request(stages: RolloutInput['stages'] = twoStages, gate: RolloutInput['gate'] = {}) {
  return checkRolloutRequest({
    service: 'digits',
    image: 'digits:2',
    reference: 'r/digits@sha256:2',
    scope: '*',
    stages,
    gate,
  });
}

const twoStages: RolloutInput['stages'] = [
  { select: { tags: { ring: 'canary' } }, bakeMs: 1000, timeoutMs: 10_000 },
  { select: { percent: 100 }, bakeMs: 1000, timeoutMs: 10_000, approval: 'manual' },
];

function seen(...outcomes: readonly DeviceOutcome['outcome'][]): Observation {
  const devices = outcomes.map((outcome, index) => ({ deviceId: `gw-${index}`, outcome, restarts: 0 }));
  return { devices, metrics: {} };
}

test('nextState() rolls, bakes, goes on, and waits for a person where that is wanted', () => {
  const wanted = request();
  const rolling = firstState(0);
  expect(nextState(wanted, rolling, seen('pending'), 5).phase).toBe('rolling');
  const baking = nextState(wanted, rolling, seen('succeeded'), 10);
  expect(baking).toMatchObject({ stage: 0, phase: 'baking', phaseSinceMs: 10 });
  expect(nextState(wanted, baking, seen('succeeded'), 1009)).toEqual(baking);
  const next = nextState(wanted, baking, seen('succeeded'), 1010);
  expect(next).toMatchObject({ stage: 1, phase: 'rolling' });
  const last = nextState(wanted, next, seen('succeeded', 'succeeded'), 1020);
  const waiting = nextState(wanted, last, seen('succeeded', 'succeeded'), 2020);
  expect(waiting.phase).toBe('waiting');
  expect(nextState(wanted, waiting, seen('succeeded', 'succeeded'), 99_999)).toEqual(waiting);
  expect(advanced(wanted, waiting, 3000).phase).toBe('done');
});

test('nextState() halts on a failure in every phase, paused or not, and says which devices', () => {
  const wanted = request();
  for (const phase of ['rolling', 'baking', 'waiting'] as const) {
    for (const paused of [false, true]) {
      const state: RolloutState = { ...firstState(0), phase, paused };
      const halted = nextState(wanted, state, seen('succeeded', 'failed'), 5);
      expect(halted).toMatchObject({ phase: 'halted', stage: 0, failed: ['gw-1'], touched: 2 });
    }
  }
});

test('nextState() does not go on while it is paused', () => {
  const paused: RolloutState = { ...firstState(0), phase: 'baking', paused: true };
  expect(nextState(request(), paused, seen('succeeded'), 99_999)).toMatchObject({ stage: 0, phase: 'baking' });
});

test('nextState() halts when devices that can be reached do not get there in time, and waits for those that cannot', () => {
  const rolling = firstState(0);
  expect(nextState(request(), rolling, seen('succeeded', 'pending'), 10_000)).toMatchObject({
    phase: 'halted',
    reason: '1 of 2 devices have not taken it within 10 s: gw-1 (no reason given)',
    failed: ['gw-1'],
  });
  expect(nextState(request(), rolling, seen('offline', 'offline'), 10_000_000).phase).toBe('rolling');
});

test('nextState() proves a stage anew when a device comes back', () => {
  const baking: RolloutState = { ...firstState(0), phase: 'baking', phaseSinceMs: 5 };
  expect(nextState(request(), baking, seen('succeeded', 'pending'), 50)).toMatchObject({
    phase: 'rolling',
    phaseSinceMs: 50,
  });
});

test('nextState() never goes a stage back, never passes one without its devices having succeeded, and ends for good', () => {
  const outcomes = constantFrom<DeviceOutcome['outcome']>('succeeded', 'pending', 'offline', 'failed');
  const looks = array(record({ outcomes: array(outcomes, { maxLength: 6 }), passedMs: nat(5000) }), {
    maxLength: 60,
  });
  assert(
    property(looks, nat(2), (all, failuresMax) => {
      const wanted = request(twoStages, { failuresMax });
      let state = firstState(0);
      let nowMs = 0;
      for (const { outcomes, passedMs } of all) {
        nowMs += passedMs;
        const next = nextState(wanted, state, seen(...outcomes), nowMs);
        expect(next.stage).toBeGreaterThanOrEqual(state.stage);
        expect(isOver(state) && next !== state).toBe(false);
        const isProven =
          outcomes.includes('succeeded') &&
          !outcomes.includes('pending') &&
          outcomes.filter((outcome) => outcome === 'failed').length <= failuresMax;
        expect(next.stage > state.stage && !isProven).toBe(false);
        state = next;
      }
    }),
    { numRuns: 300 },
  );
});
