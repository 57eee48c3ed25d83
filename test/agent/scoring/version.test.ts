import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { serverVersion } from '../../../agent/scoring/version.ts';

test('serverVersion is the version of the package', () => {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  expect(serverVersion).toBe((JSON.parse(manifest) as { version: string }).version);
});
