import { createHash } from 'node:crypto';
import { tarLayer } from '../../shared/oci/tar-layer.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { layerEntries } from './layer-entries.ts';
import { listModels, type Model } from './model.ts';
import { addExternalFiles, findModelFiles, type ModelFiles } from './model-files.ts';
import type { Registration } from './register.ts';
import { readSample } from './sample.ts';
import { makeServable } from './servable.ts';

/**
 * Finds the latest version of a model where that is what a registration would make again: of the same bytes, with the same sample. Reads
 * the files once, and neither loads nor writes anything.
 * @throws {FerryError} FILE_NOT_FOUND, FILE_UNREADABLE or MODEL_INVALID as a registration would
 */
export async function findRegistered(
  workspace: Workspace,
  { path, main, name, sample }: Registration,
): Promise<Model | undefined> {
  const [latest] = listModels(workspace.database, { name, latest: true });
  if (latest === undefined) return undefined;
  const found = await findModelFiles(path, main);
  await using servable = await makeServable(workspace, found);
  const files = await addExternalFiles(servable.found, servable.read.externalFiles);
  if ((await layerDigest(name, files)) !== latest.digest) return undefined;
  const input = sample === undefined ? undefined : await readSample(sample, servable.read.signature);
  if (input === undefined) return latest;
  return JSON.stringify(input) === JSON.stringify(latest.sample?.input) ? latest : undefined;
}

/** Gives the digest of the layer that the files of a model make. */
async function layerDigest(name: string, { files }: ModelFiles): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of tarLayer(layerEntries(name, files))) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
}
