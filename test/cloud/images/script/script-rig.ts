import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryFolder } from '../../../temporary-folder.ts';

/** A folder of files, of a project that a user scores with. */
export interface ScriptFolder extends AsyncDisposable {
  readonly folder: string;
  path(name: string): string;
}

/** Writes files into a folder that goes when the test's scope ends. */
export async function scriptFolder(files: Readonly<Record<string, string>>): Promise<ScriptFolder> {
  const temporary = await temporaryFolder();
  await writeFiles(temporary.path, files);
  return {
    folder: temporary.path,
    path: (name) => join(temporary.path, name),
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}

/** Writes files into a folder. */
export async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

/** A package as npm installs it. */
export const doublePackage: Readonly<Record<string, string>> = {
  'node_modules/double/package.json': '{"name":"double","version":"1.2.3","license":"MIT","main":"index.js"}',
  'node_modules/double/index.js': 'module.exports = (value) => 2 * value;',
};

/** The lock file that goes with {@link doublePackage}. */
export function lockOf(version: string): string {
  const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}`;
  return JSON.stringify({ lockfileVersion: 3, packages: { '': {}, 'node_modules/double': { version, integrity } } });
}
