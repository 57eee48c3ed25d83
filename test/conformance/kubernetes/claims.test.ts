import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The cluster's README claims what it simulates; every claim names its test, and every test has its claim.

const folder = fileURLToPath(new URL('.', import.meta.url));
const readme = readFileSync(
  fileURLToPath(new URL('../../../simulators/kubernetes/README.md', import.meta.url)),
  'utf8',
);

test('every claim of the README of the cluster names a test that is there, and every test is named', () => {
  const claimed = [...readme.matchAll(/^\|[^|]*\| `([\w-]+\.test\.ts)`: (.+?) \|$/gm)].map(
    ([, file, title]) => `${file}: ${title}`,
  );
  expect(claimed.toSorted()).toEqual(titles().toSorted());
});

function titles(): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.test.ts') && file !== 'claims.test.ts')
    .flatMap((file) => {
      const found = readFileSync(`${folder}/${file}`, 'utf8').matchAll(/^ *test\(\s*'((?:[^'\\]|\\.)*)',/gm);
      return [...found].map((match) => `${file}: ${match[1]}`);
    });
}
