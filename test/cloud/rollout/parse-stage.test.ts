import { expect, test } from 'vitest';
import { parseDuration, parseStage } from '../../../cloud/rollout/parse-stage.ts';

test('parseStage() reads tags, a percentage or names, and how the stage is done', () => {
  expect(parseStage('ring=canary bake=30m manual')).toEqual({
    select: { tags: { ring: 'canary' } },
    bakeMs: 1_800_000,
    approval: 'manual',
  });
  expect(parseStage('12.5% timeout=2h name=first')).toEqual({
    select: { percent: 12.5 },
    timeoutMs: 7_200_000,
    name: 'first',
  });
  expect(parseStage('devices=gw-1,gw-2')).toEqual({ select: { devices: ['gw-1', 'gw-2'] } });
  expect(parseStage('site=lab place.hall=3')).toEqual({ select: { tags: { site: 'lab', 'place.hall': '3' } } });
});

test.each([
  ['', 'it says no devices'],
  ['bake=10m', 'it says no devices'],
  ['10% ring=canary', 'it says devices in more than one way'],
  ['canary', '"canary" is not known'],
])('parseStage() refuses "%s"', (text, why) => {
  expect(() => parseStage(text)).toThrow(why);
});

test('parseDuration() reads seconds, minutes, hours and days, and refuses all else', () => {
  expect(['90s', '30m', '1.5h', '1d'].map(parseDuration)).toEqual([90_000, 1_800_000, 5_400_000, 86_400_000]);
  for (const text of ['', '10', 'h', '-1h', '1 h', '1w']) expect(() => parseDuration(text)).toThrow('was wanted');
});
