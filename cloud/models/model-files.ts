import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, posix, relative, resolve, sep } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { type FileLook, lookOf } from './file-look.ts';

/** Most files that a model may have. */
const filesMax = 10_000;

/** A file as it was found. */
interface FoundFile {
  /** Below the model's folder, with `/`. */
  readonly path: string;
  /** Where its bytes are. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly look: FileLook;
}

/** The files that a model consists of. */
export interface ModelFiles {
  /** Absolute path of the folder that they are in. */
  readonly folder: string;
  /** Path of the ONNX file in it. */
  readonly main: string;
  /** All of them, by path. */
  readonly files: readonly FoundFile[];
}

/**
 * Finds the files of a model: a file alone, or all files of a folder that has one ONNX file at its top.
 * @param main name of the ONNX file in the folder, where there are several
 * @throws {FerryError} FILE_NOT_FOUND or FILE_UNREADABLE when it is not there or cannot be read
 * @throws {FerryError} MODEL_INVALID when a folder's ONNX file cannot be told, or there is something else than files in it
 */
export async function findModelFiles(path: string, main?: string): Promise<ModelFiles> {
  const absolute = resolve(path);
  const status = await stat(absolute).catch((cause: unknown) => {
    const missing = systemCodeOf(cause) === 'ENOENT';
    const found = missing ? 'there is no such file' : 'it cannot be read';
    throw new FerryError(missing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE', `Cannot register "${absolute}": ${found}`, {
      cause,
    });
  });
  if (!status.isDirectory()) {
    const folder = dirname(absolute);
    const name = basename(absolute);
    return { folder, main: name, files: [await findFile(absolute, name)] };
  }
  const paths = await listFiles(absolute);
  const files = await Promise.all(paths.map((path) => findFile(join(absolute, path), path)));
  return { folder: absolute, main: chooseMain(absolute, paths, main), files };
}

/**
 * Gives the files with those that hold weights outside of the ONNX file; in a folder they are among the files already.
 * @param external paths relative to the ONNX file, as it names them
 * @throws {FerryError} MODEL_INVALID naming those that are not there, or not in the folder of the ONNX file
 */
export async function addExternalFiles(found: ModelFiles, external: readonly string[]): Promise<ModelFiles> {
  const known = new Map(found.files.map((file) => [file.path, file]));
  const problems: string[] = [];
  for (const path of external) {
    const clean = posix.normalize(path);
    if (path === '' || clean.startsWith('../') || clean === '..' || posix.isAbsolute(clean)) {
      problems.push(`"${path}" is outside of its folder`);
    } else if (!known.has(clean)) {
      const file = await findFile(join(found.folder, clean), clean).catch(() => undefined);
      if (file === undefined) problems.push(`"${path}" is not there`);
      else known.set(clean, file);
    }
  }
  if (problems.length > 0) {
    throw new FerryError(
      'MODEL_INVALID',
      `Cannot register "${found.main}": of the files that hold its weights ${problems.join(', ')}`,
      {
        next: 'Put the files beside the ONNX file, as they were saved with it.',
      },
    );
  }
  return { ...found, files: [...known.values()].sort((a, b) => (a.path < b.path ? -1 : 1)) };
}

/**
 * Makes sure that the files are still those that were found.
 * @throws {FerryError} FILE_UNREADABLE naming one that was changed
 */
export async function refuseChanged({ files }: ModelFiles): Promise<void> {
  for (const before of files) {
    const now = await findFile(before.file, before.path);
    // A link that is made to a file meanwhile changes its status alone.
    if (!isDeepStrictEqual({ ...now.look, statusNs: before.look.statusNs }, before.look)) {
      throw new FerryError('FILE_UNREADABLE', `Cannot register "${before.file}": it was changed meanwhile`);
    }
  }
}

/** Gives the files with another one in place of the ONNX file. */
export async function replaceMain(found: ModelFiles, file: string): Promise<ModelFiles> {
  const replaced = await findFile(file, found.main);
  return { ...found, files: found.files.map((one) => (one.path === found.main ? replaced : one)) };
}

/** Gives where the bytes of the ONNX file are. */
export function mainFile({ files, main }: ModelFiles): string {
  const found = files.find(({ path }) => path === main);
  if (found === undefined) throw new Error(`"${main}" is no file of the model`);
  return found.file;
}

async function findFile(file: string, path: string): Promise<FoundFile> {
  const status = await stat(file, { bigint: true }).catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot register "${file}": it cannot be read`, { cause });
  });
  if (status.isFile()) return { path, file, sizeBytes: Number(status.size), look: lookOf(file, status) };
  throw new FerryError('MODEL_INVALID', `Cannot register "${file}": it is no file, a file was wanted`);
}

async function listFiles(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => ({
    entry,
    path: relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'),
  }));
  // A link may lead out of the folder, or to something that is not there on another machine.
  const odd = paths.filter(({ entry }) => !entry.isFile() && !entry.isDirectory()).map(({ path }) => `"${path}"`);
  if (odd.length > 0) {
    throw new FerryError(
      'MODEL_INVALID',
      `Cannot register "${folder}": ${odd.join(', ')} are links or devices, files were wanted`,
    );
  }
  const files = paths.filter(({ entry }) => entry.isFile()).map(({ path }) => path);
  if (files.length > filesMax) {
    throw new FerryError(
      'MODEL_INVALID',
      `Cannot register "${folder}": it has ${files.length} files, at most ${filesMax} were wanted`,
    );
  }
  return files.sort();
}

function chooseMain(folder: string, paths: readonly string[], main: string | undefined): string {
  const candidates = paths.filter((path) => /^[^/]+\.onnx$/.test(path));
  const chosen = main === undefined ? candidates : candidates.filter((path) => path === main);
  const [only, ...more] = chosen;
  if (only !== undefined && more.length === 0) return only;
  const names = candidates.map((path) => `"${path}"`).join(', ') || 'none';
  const wanted = main === undefined ? 'one ".onnx" file was wanted' : `"${main}" was wanted`;
  throw new FerryError('MODEL_INVALID', `Cannot register "${folder}": at its top there is ${names}, ${wanted}`, {
    ...(more.length > 0 && { next: 'Name the one to serve: ferry model register --main.' }),
  });
}
