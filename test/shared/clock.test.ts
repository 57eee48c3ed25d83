import { expect, test } from 'vitest';
import { systemClock } from '../../shared/clock.ts';

test('systemClock.sleep() ends with the reason of its signal, before and while it waits', async () => {
  const reason = new Error('enough');
  await expect(systemClock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
  const ending = new AbortController();
  const sleeping = systemClock.sleep(60_000, ending.signal);
  ending.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
});
