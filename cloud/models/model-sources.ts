import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { databaseFailure } from '../workspace/new-version.ts';
import { json } from '../workspace/rows.ts';
import { type FileLook, fileLookSchema, isSettled, lookAt } from './file-look.ts';
import { isOfContent, mainPathOf, type Model } from './model.ts';
import { findModelFiles, type ModelFiles } from './model-files.ts';
import type { Registration } from './register.ts';
import { readSample } from './sample.ts';

/** To be raised when the same files make another layer than before. */
const recipeVersion = 1;

/** What a version was made of. */
const sourcesSchema = json(
  z.strictObject({
    recipe: z.literal(recipeVersion),
    /** The file or folder that was given. */
    path: z.string(),
    /** All files of the model, with those that hold its weights. */
    files: z.array(fileLookSchema),
  }),
);

/** Files that were read. */
interface ReadFiles {
  /** The file or folder that was given. */
  readonly path: string;
  /** What was found there. */
  readonly found: ModelFiles;
  /** What the layer was made of: all files, and perhaps another ONNX file than the one that was found. */
  readonly packed: ModelFiles;
  /** When reading began. */
  readonly sinceMs: number;
}

/** Writes how files look of which a version is made; null where one may have been changed while it was read. */
export function sourcesOf({ path, found, packed, sinceMs }: ReadFiles): string | null {
  const looks = new Map([...packed.files, ...found.files].map(({ path, look }) => [path, look]));
  const files = [...looks.values()];
  if (!files.every((look) => isSettled(look, sinceMs))) return null;
  return JSON.stringify({ recipe: recipeVersion, path: resolve(path), files });
}

/**
 * Keeps what {@link sourcesOf} gave of other files that make the same version.
 * @throws {FerryError} DISK_FULL when there is no room for it
 */
export function keepSources(database: WorkspaceDatabase, { name, version }: Model, sources: string | null): void {
  if (sources === null) return;
  const update = database.prepare('UPDATE models SET sources = ? WHERE name = ? AND version = ?');
  try {
    update.run(sources, name, version);
  } catch (error) {
    throw databaseFailure(error, `register the model "${name}"`);
  }
}

/**
 * Says whether a registration would make a version again, by how its files look: none but the sample is read. What was kept of a version may
 * be missing or damaged, then it is not known to be the same.
 * @throws {FerryError} FILE_NOT_FOUND, FILE_UNREADABLE or MODEL_INVALID as a registration would
 */
export async function looksAsRegistered(
  database: WorkspaceDatabase,
  model: Model,
  { path, main, sample }: Registration,
): Promise<boolean> {
  const found = await findModelFiles(path, main);
  const kept = readSources(database, model);
  if (kept?.path !== resolve(path) || model.mainPath !== mainPathOf(model.name, found.main)) return false;
  const before = byPath(kept.files);
  // Which files hold weights beside an ONNX file is known only to who read that.
  const beside = await Promise.all([...before.keys()].map(lookAt));
  const now = byPath([...found.files.map(({ look }) => look), ...beside.filter((look) => look !== undefined)]);
  if (!isDeepStrictEqual(now, before)) return false;
  const input = sample === undefined ? undefined : await readSample(sample, model.signature);
  return isOfContent(model, { ...model, input });
}

function readSources(database: WorkspaceDatabase, { name, version }: Model): z.infer<typeof sourcesSchema> | undefined {
  const row = database.prepare('SELECT sources FROM models WHERE name = ? AND version = ?').pluck().get(name, version);
  try {
    return sourcesSchema.parse(row);
  } catch {
    return undefined;
  }
}

function byPath(looks: readonly FileLook[]): Map<string, FileLook> {
  return new Map(looks.map((look) => [look.path, look]));
}
