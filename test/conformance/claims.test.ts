import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The hub's README claims what it simulates; every claim names its test, and every test has its claim.

const folder = fileURLToPath(new URL('.', import.meta.url));
const readme = readFileSync(fileURLToPath(new URL('../../simulators/hub/README.md', import.meta.url)), 'utf8');
const own = 'claims.test.ts';

test('every claim of the README of the hub names a test that is there, and every test is named', () => {
  const claimed = [...readme.matchAll(/^\|[^|]*\|[^|]*\| `([\w-]+\.test\.ts)`: (.+?) \|$/gm)].map(
    ([, file, title]) => `${file}: ${title}`,
  );
  expect(claimed.toSorted()).toEqual(titles().toSorted());
});

function titles(): readonly string[] {
  return globSync('*.test.ts', { cwd: folder })
    .filter((file) => file !== own)
    .flatMap((file) => {
      const starts =
        /(?:^test(?:\.skipIf\([^\n]*?\))?\(\s*|^\]\)\(\s*|^test\.each\([^\n]*\]\)\(\s*)(['"`])((?:(?!\1)[^\\\n]|\\.)*)\1,/gm;
      return [...readFileSync(`${folder}/${file}`, 'utf8').matchAll(starts)].map((match) => `${file}: ${match[2]}`);
    });
}
