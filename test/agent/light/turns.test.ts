import { expect, test } from 'vitest';
import { Turns } from '../../../agent/light/turns.ts';

test('Turns lets so many be under way at once, in their order, over failures too', async () => {
  const turns = new Turns(2);
  const [begun, most]: [number[], { count: number; now: number }] = [[], { count: 0, now: 0 }];
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const runs = gates.map(({ promise }, index) =>
    turns.run(async () => {
      begun.push(index);
      most.now += 1;
      most.count = Math.max(most.count, most.now);
      await promise.finally(() => (most.now -= 1));
      return index;
    }),
  );
  const settled = Promise.allSettled(runs);
  gates[1]?.reject(new Error('no'));
  await expect(runs[1]).rejects.toThrow('no');
  for (const gate of gates.toReversed()) gate.resolve();
  await settled;
  expect(begun).toEqual([0, 1, 2, 3, 4]);
  expect(most).toEqual({ count: 2, now: 0 });
  await expect(Promise.all([runs[0], runs[4]])).resolves.toEqual([0, 4]);
});
