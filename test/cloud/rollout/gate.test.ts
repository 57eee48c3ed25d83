import { expect, test } from 'vitest';
import { type DeviceOutcome, judge } from '../../../cloud/rollout/gate.ts';
import { checkRolloutRequest, type Gate } from '../../../cloud/rollout/rollout-request.ts';

function gate(settings: Partial<Gate> = {}): Gate {
  return checkRolloutRequest({
    service: 'digits',
    image: 'digits:2',
    reference: 'r/digits@sha256:2',
    scope: '*',
    stages: [{ select: { percent: 100 } }],
    gate: settings,
  }).gate;
}

function device(deviceId: string, more: Partial<DeviceOutcome> = {}): DeviceOutcome {
  return { deviceId, outcome: 'succeeded', restarts: 0, ...more };
}

const noMetrics = { metrics: {} };

test('judge() counts those that can be reached, and leaves those that cannot out of the share', () => {
  const devices = [device('a'), device('b'), device('c', { outcome: 'offline' })];
  expect(judge(gate(), { devices, ...noMetrics })).toMatchObject({ reached: true, succeeded: 2, offline: 1 });
  const one = [...devices, device('d', { outcome: 'pending' })];
  expect(judge(gate(), { devices: one, ...noMetrics }).reached).toBe(false);
  expect(judge(gate({ successShareMin: 0.6 }), { devices: one, ...noMetrics }).reached).toBe(true);
});

test('judge() takes nothing for proof where nobody can be reached', () => {
  expect(judge(gate(), { devices: [], ...noMetrics }).reached).toBe(false);
  const offline = [device('a', { outcome: 'offline' })];
  expect(judge(gate(), { devices: offline, ...noMetrics })).toMatchObject({ reached: false, breach: undefined });
});

test('judge() names the devices that failed, and why', () => {
  const devices = ['a', 'b', 'c', 'd'].map((id) => device(id, { outcome: 'failed', reason: `exit code 1 of ${id}` }));
  const verdict = judge(gate({ failuresMax: 3 }), { devices, ...noMetrics });
  expect(verdict.breach).toBe(
    '4 failed, 3 may: a (exit code 1 of a), b (exit code 1 of b), c (exit code 1 of c) and 1 more',
  );
  expect(verdict.culprits).toEqual(['a', 'b', 'c', 'd']);
  expect(judge(gate({ failuresMax: 4 }), { devices, ...noMetrics }).breach).toBeUndefined();
});

test('judge() holds restarts, the error rate, latency and metrics against their bounds', () => {
  const scoring = { requests: 100, errors: 2, p95Ms: 40 };
  const devices = [device('a', { restarts: 4 }), device('b', { scoring })];
  expect(judge(gate(), { devices, ...noMetrics }).breach).toContain('the module of a was started again 4 times');
  const calm = [device('a'), device('b', { scoring })];
  expect(judge(gate({ errorRateMax: 0.01 }), { devices: calm, ...noMetrics }).breach).toContain('2 of 100 requests');
  expect(judge(gate({ errorRateMax: 0.02 }), { devices: calm, ...noMetrics }).breach).toBeUndefined();
  expect(judge(gate({ latencyMsMax: 39 }), { devices: calm, ...noMetrics })).toMatchObject({
    breach: 'b answers 95 of 100 requests within 40 ms, 39 ms was wanted',
    culprits: ['b'],
  });
  const metrics = { hot: { query: 'SELECT * FROM devices', max: 1 } };
  expect(judge(gate({ metrics }), { devices: calm, metrics: { hot: 2 } }).breach).toContain('"hot" gives 2');
  expect(judge(gate({ metrics }), { devices: calm, metrics: { hot: 1 } }).breach).toBeUndefined();
});

test('checkRolloutRequest() says which option is missing where no stage is given', () => {
  const asked = { service: 'digits', image: 'digits:2', reference: 'r/digits@sha256:2', scope: '*', stages: [] };
  expect(() => checkRolloutRequest(asked)).toThrow('stages: none is given (--stage), one at least was wanted');
});
