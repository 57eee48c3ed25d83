import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runFerry } from '../ferry.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Verbs by noun, read off the README's table of the command line. */
const documented = Object.fromEntries(
  [...readFileSync(`${root}README.md`, 'utf8').matchAll(/^\| `([a-z ]+)` \| ([a-z, ]*)\|/gm)].map((row) => [
    row[1] ?? '',
    (row[2] ?? '').trim().split(', ').filter(Boolean),
  ]),
);

test("the README's table names every noun", async () => {
  const nouns = await commandsOf([]);
  expect(new Set(Object.keys(documented).map((noun) => noun.split(' ')[0]))).toEqual(new Set(nouns));
});

test.each(Object.entries(documented))("the README's table names the verbs of ferry %s", async (noun, verbs) => {
  expect(verbs).toEqual(await commandsOf(noun.split(' ')));
});

/** Reads the commands off a `--help`. */
async function commandsOf(noun: readonly string[]): Promise<string[]> {
  const { stdout } = await runFerry([...noun, '--help'], { cwd: root });
  const list = stdout.split('Commands:\n')[1] ?? '';
  return [...list.matchAll(/^ {2}([a-z]+)/gm)].map((line) => line[1] ?? '').filter((name) => name !== 'help');
}
