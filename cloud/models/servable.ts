import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import { openScratch } from '../workspace/scratch.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { type ModelFiles, refuseChanged, replaceMain } from './model-files.ts';
import { damagedModel, type OnnxModel, readOnnx } from './onnx.ts';
import { writeWithoutZipMaps } from './onnx-zipmap.ts';
import { WireError } from './protobuf-file.ts';

/** A model as it can be served; files that were written for that go when it is disposed of. */
export interface Servable extends AsyncDisposable {
  readonly found: ModelFiles;
  readonly read: OnnxModel;
  /** Digest of the ONNX file that was given, where another one was written. */
  readonly originalDigest?: Digest;
}

/**
 * Reads a model, and writes its ONNX file anew where it ends with what no scoring server can give: ZipMap operators of scikit-learn's
 * converter.
 * @throws {FerryError} FILE_UNREADABLE, MODEL_INVALID or DISK_FULL
 */
export async function makeServable(workspace: Workspace, found: ModelFiles): Promise<Servable> {
  const original = join(found.folder, found.main);
  const read = readOnnx(original);
  if (read.zipMaps.length === 0) return { found, read, [Symbol.asyncDispose]: () => Promise.resolve() };
  if (read.externalFiles.length > 0) {
    const outputs = read.zipMaps.map((name) => `"${name}"`).join(', ');
    throw new FerryError(
      'MODEL_INVALID',
      `Cannot serve "${found.main}": output ${outputs} is given by ZipMap, and its weights are in other files, one of both was wanted`,
      { next: 'Convert the model again without ZipMap (`options={"zipmap": False}`).' },
    );
  }
  await using stack = new AsyncDisposableStack();
  const scratch = stack.use(await openScratch(workspace));
  const rewritten = join(scratch.path, 'model.onnx');
  try {
    await writeWithoutZipMaps(original, rewritten);
  } catch (error) {
    throw error instanceof WireError ? damagedModel(original, error) : writeFailure(error, `write "${rewritten}"`);
  }
  const hash = createHash('sha256');
  await pipeline(createReadStream(original), hash);
  await refuseChanged(found);
  const servable = {
    found: await replaceMain(found, rewritten),
    read: readOnnx(rewritten),
    originalDigest: `sha256:${hash.digest('hex')}` as const,
  };
  const kept = stack.move();
  return { ...servable, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
