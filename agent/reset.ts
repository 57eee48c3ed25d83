import { rm } from 'node:fs/promises';
import { isDigest } from '../shared/digest.ts';
import { openEngine } from '../shared/containers/open-engine.ts';
import type { Logger } from '../shared/log.ts';
import { LayoutStore } from '../shared/oci/layout-store.ts';
import { AgentState } from './agent-state.ts';
import { imageDigestLabel } from './labels.ts';

/** How long a module may take to end by itself, in milliseconds. */
const graceMs = 5_000;

/** What a reset took away. */
export interface ResetReport {
  readonly modules: readonly string[];
  readonly images: readonly string[];
}

/**
 * Takes the agent off the device as if it had never been there: its modules, what its engine made of its images, and its
 * folder with all that was collected and not yet uploaded.
 * @throws {FerryError} IN_USE when an agent runs on that folder
 * @throws {FerryError} ENGINE_FAILED when the engine that has its modules does not answer; nothing is taken away then
 */
export async function resetAgent(stateFolder: string, log: Logger): Promise<ResetReport> {
  const state = await AgentState.open(stateFolder);
  const report = await state.whileAlone(async () => {
    const identity = await state.readIdentity();
    if (identity.engine === undefined) return { modules: [], images: [] };
    await using engine = await openEngine({
      engine: identity.engine,
      layout: await LayoutStore.open(state.imagesFolder),
      folder: state.folder,
      owner: identity.owner,
      log,
    });
    const containers = await engine.list();
    for (const { name } of containers) {
      await engine.stop(name, { graceMs });
      await engine.remove(name);
    }
    const images = new Set(containers.map(({ labels }) => labels[imageDigestLabel] ?? '').filter(isDigest));
    for (const image of images) await engine.forgetImage(image);
    return { modules: containers.map(({ name }) => name), images: [...images] };
  });
  await rm(state.folder, { recursive: true, force: true });
  return report;
}
