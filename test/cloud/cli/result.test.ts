import { expect, test } from 'vitest';
import { pairsText } from '../../../cloud/cli/result.ts';

test('pairsText() writes a key without a value alone', () => {
  expect(pairsText({ area: 'vision', draft: '' })).toBe('area=vision, draft');
});
