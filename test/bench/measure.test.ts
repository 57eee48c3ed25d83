import { expect, test } from 'vitest';
import { takeMeasure } from './measure.ts';

test('takeMeasure() samples figure and reference by turns and compares their medians', async () => {
  const order: string[] = [];
  const values = [10, 1000, 30];
  const outcome = await takeMeasure({
    figure: 'copy',
    unit: 'ms',
    sample: async () => {
      order.push('figure');
      return values.shift() ?? 0;
    },
    reference: {
      name: 'cp',
      sample: async () => {
        order.push('reference');
        return 20;
      },
    },
    bar: { atMost: 1.4 },
    rounds: 3,
  });
  expect(order.join(' ')).toBe('figure reference figure reference figure reference');
  expect(outcome).toMatchObject({ value: 30, ratio: 1.5, held: false, reference: { name: 'cp', value: 20 } });
});

test('takeMeasure() holds a figure without a reference against the bar itself', async () => {
  const outcome = await takeMeasure({
    figure: 'rate',
    unit: 'req/s',
    sample: async () => 5,
    bar: { atLeast: 5 },
    rounds: 2,
  });
  expect(outcome).toMatchObject({ value: 5, bar: '>= 5 req/s', held: true });
});

test('takeMeasure() only tells a figure that has no bar', async () => {
  const outcome = await takeMeasure({ figure: 'rate', unit: 'req/s', sample: async () => 5, rounds: 1 });
  expect(outcome).toEqual({ figure: 'rate', unit: 'req/s', value: 5, held: true });
});
