import { expect, test } from 'vitest';
import { systemClock } from '../../../shared/clock.ts';
import { startProgress } from '../../../cloud/cli/progress.ts';

test('startProgress() writes nothing where there is no terminal', () => {
  const written: string[] = [];
  using progress = startProgress('push', { stream: { isTTY: false, write: (text) => written.push(text) } });
  progress.update(1, 2);
  expect(written).toEqual([]);
});

test('startProgress() draws a bar after a second and wipes it off at the end', () => {
  const written: string[] = [];
  let nowMs = 0;
  {
    using progress = startProgress('push', {
      stream: { isTTY: true, write: (text) => written.push(text) },
      clock: { ...systemClock, monotonicMs: () => nowMs },
    });
    progress.update(1, 4);
    expect(written).toEqual([]);
    nowMs = 2_000;
    progress.update(2, 4);
  }
  expect(written).toEqual(['\r\u001B[Kpush [###############...............] 50% 2 of 4', '\r\u001B[K']);
});
