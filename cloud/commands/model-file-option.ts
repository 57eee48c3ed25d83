import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { modelNameProblem, type VersionedName } from '../../shared/model/name.ts';
import { findModelFiles } from '../models/model-files.ts';
import type { Registration } from '../models/register.ts';

/** What is given beside `--model-file`. */
interface GivenBeside {
  /** Models that are registered already. */
  readonly models: readonly VersionedName[];
  /** The sample of the one model. */
  readonly sample: string | undefined;
}

/**
 * Reads every `--model-file`: `PATH`, whose model is named after the file or folder, or `NAME=PATH`; a path that is there is one, whatever its
 * signs. Finds the files, so that a missing one is told before another one is registered.
 * @throws {FerryError} USAGE when two models have one name, or it is not said whose the sample is
 * @throws {FerryError} NAME_INVALID when the name of a model is outside of the rules
 * @throws {FerryError} FILE_NOT_FOUND, FILE_UNREADABLE or MODEL_INVALID as a registration would
 */
export async function readModelFiles(
  texts: readonly string[],
  { models, sample }: GivenBeside,
): Promise<readonly Registration[]> {
  const files = await Promise.all(texts.map(readModelFile));
  const twice = files.find(({ name }, at) => [...files.slice(at + 1), ...models].some((other) => other.name === name));
  if (twice !== undefined) throw usage(`the model "${twice.name}" was given twice, another name was wanted`);
  if (sample === undefined) return files;
  if (files.length !== 1) throw usage(`a sample was given with ${files.length} model files, one was wanted`);
  return files.map((file) => ({ ...file, sample }));
}

async function readModelFile(text: string): Promise<Registration> {
  const at = existsSync(text) ? -1 : text.indexOf('=');
  const path = text.slice(at + 1);
  if (at >= 0) checkName(text.slice(0, at), path);
  const { folder, main } = await findModelFiles(path);
  if (at >= 0) return { path, name: text.slice(0, at) };
  const name = folder === resolve(path) ? basename(folder) : basename(main, '.onnx');
  checkName(name, path);
  return { path, name };
}

function checkName(name: string, path: string): void {
  const problem = modelNameProblem(name);
  if (problem === undefined) return;
  throw new FerryError('NAME_INVALID', `Cannot register "${resolve(path)}": ${problem}`, {
    next: 'Name the model: --model-file NAME=PATH.',
  });
}

function usage(found: string): FerryError {
  return new FerryError('USAGE', `Cannot build an image: ${found}`);
}
