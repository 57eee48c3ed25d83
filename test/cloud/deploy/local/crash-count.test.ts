import { expect, test } from 'vitest';
import { CrashCount } from '../../../../cloud/deploy/local/host/crash-count.ts';

test('CrashCount waits longer with each crash in a row, and not with the first', () => {
  const crashes = new CrashCount();
  crashes.note('once', 1_000);
  expect(crashes.isHeldBack(1_000)).toBe(false);
  crashes.note('twice', 2_000);
  expect([2_999, 3_000].map((nowMs) => crashes.isHeldBack(nowMs))).toEqual([true, false]);
  for (let more = 0; more < 20; more += 1) crashes.note('again', 4_000);
  expect([33_999, 34_000].map((nowMs) => crashes.isHeldBack(nowMs))).toEqual([true, false]);
  expect([crashes.all, crashes.reason]).toEqual([22, 'again']);
});

test('CrashCount forgets crashes when replicas have held for a minute', () => {
  const crashes = new CrashCount();
  crashes.note('first', 0);
  crashes.note('second', 0);
  crashes.forgive(60_000);
  expect(crashes.reason).toBe('second');
  crashes.forgive(60_001);
  expect(crashes.reason).toBeUndefined();
  crashes.note('third', 60_002);
  expect([crashes.isHeldBack(60_002), crashes.all]).toEqual([false, 3]);
});
