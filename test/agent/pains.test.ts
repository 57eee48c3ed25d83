import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** What hurts users of IoT Edge, and concerns an agent, by the number that tests name it with: `pain 2, …`. */
const pains: Readonly<Record<number, string>> = {
  1: 'memory that grows for weeks',
  2: 'a pull over a slow link starts from zero, and goes to the registry for what is there',
  3: 'a bad or absent image hides itself, holds up the rest, and is not rolled back',
  4: 'a crashed module waits until a pull has ended',
  5: 'modules are down while they are updated',
  7: 'minutes until a device hears of its deployment',
  8: 'reports that are too large for the hub',
  9: 'one typo stops everything',
  10: 'no start without the network',
  11: 'containers are made anew whenever the agent starts',
  12: 'a module is given up for ever',
  13: 'certificates that expire, or are renewed',
  14: 'a wrong clock',
  15: 'a full disk',
  16: 'a power cut that corrupts the state',
  17: 'a proxy to be set in four places',
  18: 'transfers that saturate the link',
  19: 'what a time limit means for a device that was off',
};

test('each of the pains of IoT Edge that concern an agent has a test that is named after it, and no test names another', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const files = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.test.ts'));
  const texts = await Promise.all(files.map((name) => readFile(join(root, name), 'utf8')));
  const named = texts.flatMap((text) =>
    [...text.matchAll(/^.*['`]pain (\d+), /gm)].map(([, number]) => Number(number)),
  );
  expect([...new Set(named)].toSorted((a, b) => a - b)).toEqual(Object.keys(pains).map(Number));
});
