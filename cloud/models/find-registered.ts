import { createHash } from 'node:crypto';
import type { Digest } from '../../shared/digest.ts';
import { tarLayer } from '../../shared/oci/tar-layer.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { layerEntries } from './layer-entries.ts';
import { isOfContent, listModels, mainPathOf, type Model } from './model.ts';
import { addExternalFiles, findModelFiles, type ModelFiles } from './model-files.ts';
import { looksAsRegistered } from './model-sources.ts';
import type { Registration } from './register.ts';
import { readSample } from './sample.ts';
import { makeServable } from './servable.ts';

/**
 * Finds the latest version of a model where that is what a registration would make again: of the same bytes, with the same sample. Where the
 * files do not look as they did they are read once; nothing is loaded or kept.
 * @throws {FerryError} FILE_NOT_FOUND, FILE_UNREADABLE or MODEL_INVALID as a registration would
 */
export async function findRegistered(workspace: Workspace, registration: Registration): Promise<Model | undefined> {
  const { path, main, name, sample } = registration;
  const [latest] = listModels(workspace.database, { name, latest: true });
  if (latest === undefined || (await looksAsRegistered(workspace.database, latest, registration))) return latest;
  const found = await findModelFiles(path, main);
  await using servable = await makeServable(workspace, found);
  const files = await addExternalFiles(servable.found, servable.read.externalFiles);
  const digest = await layerDigest(name, files);
  const input = sample === undefined ? undefined : await readSample(sample, servable.read.signature);
  return isOfContent(latest, { digest, mainPath: mainPathOf(name, found.main), input }) ? latest : undefined;
}

/** Gives the digest of the layer that the files of a model make. */
async function layerDigest(name: string, { files }: ModelFiles): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const piece of tarLayer(layerEntries(name, files))) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
}
