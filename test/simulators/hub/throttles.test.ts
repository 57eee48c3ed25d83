import { expect, test } from 'vitest';
import type { Clock } from '../../../shared/clock.ts';
import { Throttles } from '../../../simulators/hub/throttles.ts';

test('Throttles let through what the units of tier S1 allow a second, and count what they refuse', () => {
  const clock = new ManualClock();
  const throttles = new Throttles({ units: 2, clock });
  const passed = (): number =>
    Array.from({ length: 1_000 }, () => throttles.lets('connections')).filter(Boolean).length;
  expect(passed()).toBe(200);
  expect(throttles.refused.get('connections')).toBe(800);
  clock.ms = 500;
  expect(passed()).toBe(100);
  clock.ms = 60_000;
  expect(passed()).toBe(200);
  for (let count = 0; count < 100; count += 1) throttles.check('twin updates');
  expect(() => throttles.check('twin updates')).toThrow('throttling requests');
});

test('Throttles of a hub without units let everything through', () => {
  const throttles = new Throttles({ units: undefined, clock: new ManualClock() });
  expect(Array.from({ length: 1_000 }, () => throttles.lets('twin reads')).every(Boolean)).toBe(true);
  expect(throttles.refused.size).toBe(0);
});

class ManualClock implements Clock {
  ms = 0;

  nowMs(): number {
    return this.ms;
  }

  monotonicMs(): number {
    return this.ms;
  }

  async sleep(): Promise<void> {}
}
