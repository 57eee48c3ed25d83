import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isSettled, lookAt } from '../../../cloud/models/file-look.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

test('lookAt() gives nothing of a file that is not there', async () => {
  await using folder = await temporaryFolder();
  expect(await lookAt(join(folder.path, 'none'))).toBeUndefined();
});

test.each([
  ['written', '1000000000000000000', '5'],
  ['changed', '5', '1000000000000000000'],
])(
  'isSettled() says no of a file that was %s within a tick before it was read, or later',
  (_what, changedNs, statusNs) => {
    const look = { path: '/file', bytes: 1, changedNs, statusNs, inode: '1' };
    expect(isSettled(look, 999_999_999_999)).toBe(false);
    expect(isSettled(look, 1_000_000_000_010)).toBe(false);
    expect(isSettled(look, 1_000_000_000_011)).toBe(true);
  },
);
