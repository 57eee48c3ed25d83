import { expect, test } from 'vitest';
import type { ServiceState, ServiceStatus } from '../../../cloud/deploy/service-state.ts';
import { waitForService } from '../../../cloud/deploy/wait-for-service.ts';
import type { Clock } from '../../../shared/clock.ts';

/** Waits over states that the service is in from a time on, in milliseconds. */
async function waitOver(timeline: Readonly<Record<number, ServiceState>>, signal = AbortSignal.timeout(10_000)) {
  let nowMs = 0;
  const notes: string[] = [];
  const clock: Clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      nowMs += ms;
    },
  };
  const observe = async (): Promise<ServiceStatus> => {
    const state = Object.entries(timeline).findLast(([atMs]) => Number(atMs) <= nowMs)?.[1] ?? 'Transitioning';
    return { state, instances: [], ...(state === 'Healthy' ? {} : { reason: `gw-1: ${state}` }) };
  };
  const note = (line: string): number => notes.push(line);
  const outcome = await waitForService({ name: 'digits', timeoutMs: 60_000, signal, observe, note, clock }).catch(
    (error: unknown) => error,
  );
  return { outcome, notes, nowMs };
}

test('waitForService() notes each change once and ends with Healthy', async () => {
  const { outcome, notes } = await waitOver({ 0: 'Transitioning', 3000: 'Unhealthy', 5000: 'Healthy' });
  expect(outcome).toMatchObject({ state: 'Healthy' });
  expect(notes).toEqual([
    'digits: Transitioning (gw-1: Transitioning)',
    'digits: Unhealthy (gw-1: Unhealthy)',
    'digits: Healthy',
  ]);
});

test('waitForService() ends at the first failure, and names it', async () => {
  const { outcome, nowMs } = await waitOver({ 1000: 'Failed' });
  expect(outcome).toMatchObject({ code: 'SERVICE_FAILED', message: expect.stringContaining('gw-1: Failed') });
  expect(nowMs).toBeLessThan(3000);
});

test('waitForService() gives a module that keeps failing 15 s, and starts again when it gets up', async () => {
  const lasting = await waitOver({ 0: 'Unhealthy' });
  expect(lasting.outcome).toMatchObject({ code: 'SERVICE_FAILED' });
  expect(lasting.nowMs).toBeGreaterThanOrEqual(15_000);
  expect(lasting.nowMs).toBeLessThan(25_000);
  const passing = await waitOver({ 0: 'Unhealthy', 8000: 'Transitioning', 16_000: 'Unhealthy', 24_000: 'Healthy' });
  expect(passing.outcome).toMatchObject({ state: 'Healthy' });
});

test('waitForService() says what it was waiting for when the time is over', async () => {
  const { outcome, nowMs } = await waitOver({});
  expect(outcome).toMatchObject({
    code: 'TIMEOUT',
    message: expect.stringMatching(/after 60 s it is Transitioning \(gw-1/),
  });
  expect(nowMs).toBe(60_000);
});

test('waitForService() ends when it is interrupted', async () => {
  const reason = new Error('interrupted');
  expect((await waitOver({}, AbortSignal.abort(reason))).outcome).toBe(reason);
});
