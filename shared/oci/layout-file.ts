import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { FerryError, systemCodeOf } from '../errors.ts';

/** Reads a file, or gives undefined where it is not there. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Reads the content of one of a layout's own files.
 * @throws {FerryError} WORKSPACE_CORRUPT when it is not what the schema says
 */
export function parseFile<T>(path: string, content: string, schema: z.ZodType<T>): T {
  let cause: unknown;
  try {
    const read = schema.safeParse(JSON.parse(content));
    if (read.success) return read.data;
    cause = read.error;
  } catch (error) {
    cause = error;
  }
  throw new FerryError('WORKSPACE_CORRUPT', `Cannot read "${path}": it is not what an OCI image layout has there`, {
    cause,
  });
}
