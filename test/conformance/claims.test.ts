import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The README of a simulator claims what it simulates; every claim names its test, and every test has its claim.

const folder = fileURLToPath(new URL('.', import.meta.url));
/** Whose tests begin with a prefix of their own; all others in this folder are the hub's. */
const simulators = { arm: 'azure-arm-' } as const;
const own = 'claims.test.ts';

test.each(['hub', 'arm'] as const)(
  'every claim of the README of the %s names a test that is there, and every test is named',
  (simulator) => {
    const path = fileURLToPath(new URL(`../../simulators/${simulator}/README.md`, import.meta.url));
    const claims = readFileSync(path, 'utf8').matchAll(/^\|[^|]*\|[^|]*\| `([\w-]+\.test\.ts)`: (.+?) \|$/gm);
    const claimed = [...claims].map(([, file, title]) => `${file}: ${title}`);
    expect(claimed.toSorted()).toEqual(titles(simulator).toSorted());
  },
);

function titles(simulator: 'hub' | keyof typeof simulators): readonly string[] {
  const others = Object.values(simulators);
  const isOwn = (file: string): boolean =>
    simulator === 'hub' ? !others.some((prefix) => file.startsWith(prefix)) : file.startsWith(simulators[simulator]);
  return globSync('*.test.ts', { cwd: folder })
    .filter((file) => file !== own && isOwn(file))
    .flatMap((file) => {
      const starts =
        /(?:^test(?:\.skipIf\([^\n]*?\))?\(\s*|^\]\)\(\s*|^test\.each\([^\n]*\]\)\(\s*)(['"`])((?:(?!\1)[^\\\n]|\\.)*)\1,/gm;
      return [...readFileSync(`${folder}/${file}`, 'utf8').matchAll(starts)].map((match) => `${file}: ${match[2]}`);
    });
}
