import { expect, test } from 'vitest';
import { VirtualTimeline } from '../../../agent/light/timeline.ts';
import { Random } from '../../random.ts';

const seed = Number(process.env['SEED'] ?? 11);

test(`VirtualTimeline does everything at its time and in its order, but what was called off (seed ${seed})`, async () => {
  const random = new Random(seed);
  const timeline = new VirtualTimeline(1_000);
  const done: { readonly at: number; readonly order: number }[] = [];
  const wanted: { readonly at: number; readonly order: number }[] = [];
  for (let order = 0; order < 5_000; order += 1) {
    const at = random.below(500);
    const callOff = timeline.at(at, () => void done.push({ at: timeline.monotonicMs(), order }));
    if (random.oneIn(2)) callOff();
    else wanted.push({ at, order });
  }
  await timeline.runUntil(400);
  expect(timeline.nowMs()).toBe(1_400);
  expect(done.every(({ at }) => at <= 400)).toBe(true);
  await timeline.runUntil(500);
  expect(done).toEqual(wanted.toSorted((a, b) => a.at - b.at || a.order - b.order));
});

test('VirtualTimeline lets what a moment comes to end before it goes on, and ends sleeps by their signal', async () => {
  const timeline = new VirtualTimeline(0);
  const seen: string[] = [];
  const sleeper = async (name: string, ms: number): Promise<void> => {
    for (let turn = 0; turn < 3; turn += 1) {
      await timeline.sleep(ms);
      seen.push(`${name} ${timeline.monotonicMs()}`);
    }
  };
  const ending = new AbortController();
  const cut = timeline.sleep(1_000, ending.signal).then(
    () => 'slept',
    () => `cut at ${timeline.monotonicMs()}`,
  );
  timeline.at(25, () => ending.abort());
  void sleeper('a', 10);
  void sleeper('b', 15);
  await timeline.runUntil(100);
  expect(seen).toEqual(['a 10', 'b 15', 'a 20', 'b 30', 'a 30', 'b 45']);
  expect(await cut).toBe('cut at 25');
});
