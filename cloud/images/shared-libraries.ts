import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { FerryError } from '../../shared/errors.ts';

/** `ldd` only maps files; on a loaded machine it takes tens of milliseconds. */
const lddTimeoutMs = 30_000;

/**
 * Finds the shared libraries, and the loader, that programs and addons need, each at the path where the loader looks for it
 * (often a symbolic link). Libraries that lie beside one of the files are left out: they travel with it. Sorted.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when a library is missing on this machine
 */
export async function findSharedLibraries(files: readonly string[], signal?: AbortSignal): Promise<readonly string[]> {
  const beside = new Set(files.map((file) => dirname(file)));
  const lists = await Promise.all(files.map((file) => libraryPaths(file, signal)));
  return [...new Set(lists.flat())].filter((path) => !beside.has(dirname(path))).sort();
}

async function libraryPaths(file: string, signal: AbortSignal | undefined): Promise<string[]> {
  const options = { timeout: lddTimeoutMs, env: { ...process.env, LC_ALL: 'C' }, ...(signal && { signal }) };
  const { execFile } = process.getBuiltinModule('node:child_process');
  const { stdout } = await promisify(execFile)('ldd', [file], options).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new FerryError('PLATFORM_UNSUPPORTED', `Cannot find the shared libraries of "${file}": ldd failed`, {
      cause,
    });
  });
  return parseLdd(stdout, file);
}

/**
 * Reads what glibc's `ldd` prints: `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`, the loader as a bare path, and the
 * kernel's own `linux-vdso.so.1`, which is no file.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when it says `not found`
 */
export function parseLdd(output: string, file: string): string[] {
  const missing = [...output.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1]);
  if (missing.length > 0) {
    throw new FerryError(
      'PLATFORM_UNSUPPORTED',
      `Cannot build a base from this machine: "${file}" needs ${missing.join(', ')}, which ldd does not find`,
      { next: 'Install the library with the package manager of this machine.' },
    );
  }
  return [...output.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1] ?? '');
}
