import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeDurably } from '../../shared/durable-file.ts';
import { temporaryFolder } from '../temporary-folder.ts';

test('writeDurably() replaces a file, with the mode asked for, and leaves nothing else', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'state.json');
  await writeFile(path, 'old');
  await writeDurably(path, 'new', { mode: 0o600 });
  expect(await readFile(path, 'utf8')).toBe('new');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder.path)).toEqual(['state.json']);
});

test('writeDurably() leaves nothing behind when it cannot replace', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'taken');
  await mkdir(join(path, 'by a folder'), { recursive: true });
  await expect(writeDurably(path, 'new')).rejects.toThrow('EISDIR');
  expect(await readdir(folder.path)).toEqual(['taken']);
});
