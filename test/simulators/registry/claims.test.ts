import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The registry's README claims what of the specification it keeps to; every claim names its test, and every test has its claim.

const folder = fileURLToPath(new URL('.', import.meta.url));
const readme = readFileSync(fileURLToPath(new URL('../../../simulators/registry/README.md', import.meta.url)), 'utf8');
const own = 'claims.test.ts';

test('every claim of the README of the registry names a test that is there, and every test is named', () => {
  const rows = [...readme.matchAll(/^\|[^|]*\|[^|]*\| `([\w-]+\.test\.ts)`: (.+?) \|$/gm)];
  const claimed = rows.map(([, file, title]) => `${file}: ${title}`);
  expect([...new Set(claimed)].toSorted()).toEqual(titles().toSorted());
});

function titles(): readonly string[] {
  return globSync('*.test.ts', { cwd: folder })
    .filter((file) => file !== own)
    .flatMap((file) => {
      const starts = /(?:^test\(|^\]\)\()'((?:[^'\\\n]|\\.)*)',/gm;
      return [...readFileSync(`${folder}/${file}`, 'utf8').matchAll(starts)].map(([, title]) => `${file}: ${title}`);
    });
}
