import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import { serviceConfigPath } from '../../../shared/model/service-config.ts';
import { bundleName, mapName } from './bundle-script.ts';

/** A file that goes beside the script. */
export interface IncludedFile {
  /** Relative to the script's folder, with `/`; it has the same place in the image, relative to the script. */
  readonly path: string;
  readonly file: string;
  readonly sizeBytes: number;
}

/** Most files that may be included. */
const filesMax = 10_000;
/** What is at the top of the script's folder in every image. */
const ownNames: readonly string[] = [bundleName, mapName, serviceConfigPath.slice('/app/'.length)];

/**
 * Finds files, and all files of folders, that go into the image with a script, at the same place beside it.
 * @param folder the script's, absolute
 * @throws {FerryError} FILE_NOT_FOUND when one is not there
 * @throws {FerryError} SCRIPT_INVALID naming what lies outside of the script's folder, is no file, or would replace what is ours
 */
export async function includedFiles(folder: string, paths: readonly string[]): Promise<readonly IncludedFile[]> {
  const found = new Map<string, IncludedFile>();
  const problems: string[] = [];
  for (const given of paths) {
    const status = await stat(given).catch((cause: unknown) => {
      const why = systemCodeOf(cause) === 'ENOENT' ? 'there is no such file' : 'it cannot be read';
      throw new FerryError('FILE_NOT_FOUND', `Cannot include "${given}": ${why}`, { cause });
    });
    const absolute = await realpath(given);
    const files = status.isDirectory() ? await filesBelow(absolute, problems) : [absolute];
    for (const file of files) {
      const path = relative(folder, file).split(sep).join('/');
      if (path.startsWith('../')) problems.push(`"${given}" lies outside of "${folder}"`);
      else if (ownNames.includes(path)) problems.push(`"${path}" is a name of the image's own`);
      else found.set(path, { path, file, sizeBytes: (await stat(file)).size });
    }
  }
  if (found.size > filesMax) problems.push(`there are ${found.size} files, at most ${filesMax} were wanted`);
  if (problems.length === 0) return [...found.values()];
  throw new FerryError(
    'SCRIPT_INVALID',
    `Cannot include files with the script: ${[...new Set(problems)].join('; ')}; files below the script's folder were wanted`,
  );
}

async function filesBelow(folder: string, problems: string[]): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const pathOf = (entry: (typeof entries)[number]): string => join(entry.parentPath, entry.name);
  for (const entry of entries) {
    // A link may lead out of the folder, or to something else on another machine.
    if (!entry.isFile() && !entry.isDirectory()) problems.push(`"${pathOf(entry)}" is a link or device`);
  }
  return entries.filter((entry) => entry.isFile()).map(pathOf);
}
