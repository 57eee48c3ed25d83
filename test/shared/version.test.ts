import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { productVersion } from '../../shared/version.ts';

test('productVersion is the version of the package', () => {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  expect(productVersion).toBe((JSON.parse(manifest) as { version: string }).version);
});
