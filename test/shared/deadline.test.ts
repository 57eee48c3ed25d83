import { once } from 'node:events';
import { expect, test } from 'vitest';
import { withDeadline } from '../../shared/deadline.ts';

test('withDeadline() gives what the work gives', async () => {
  expect(await withDeadline({ doing: 'count', timeoutMs: 1_000 }, async () => 3)).toBe(3);
});

test('withDeadline() fails with TIMEOUT, says what was done, and aborts the work', async () => {
  let seen: AbortSignal | undefined;
  const waiting = withDeadline({ doing: 'wait for ever', timeoutMs: 10 }, async (signal) => {
    seen = signal;
    await once(signal, 'abort');
    return 'too late';
  });
  await expect(waiting).rejects.toMatchObject({
    code: 'TIMEOUT',
    message: expect.stringContaining('wait for ever') as string,
  });
  expect(seen?.aborted).toBe(true);
});

test("withDeadline() fails with the caller's reason when its signal is aborted", async () => {
  const controller = new AbortController();
  const { promise: never } = Promise.withResolvers<never>();
  const waiting = withDeadline({ doing: 'wait', timeoutMs: 10_000, signal: controller.signal }, () => never);
  controller.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});
