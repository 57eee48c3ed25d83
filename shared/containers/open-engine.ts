import { join } from 'node:path';
import { isFerryError, messageOf } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { LayoutStore } from '../oci/layout-store.ts';
import type { ContainerEngine } from './engine.ts';

/** Which engine is wanted: `auto` is Docker where it answers, else processes. */
export const engineChoices = ['auto', 'docker', 'process'] as const;

/** The settings of {@link openEngine}. */
export interface OpenEngineOptions {
  readonly engine: (typeof engineChoices)[number];
  /** OCI image layout that images are taken from. */
  readonly layout: LayoutStore;
  /** Folder of the engine's own. Two engines never share one. */
  readonly folder: string;
  /** Tells this owner's containers from all others on the same Docker engine: letters and digits. */
  readonly owner: string;
  /** Network that Docker puts containers in. @default Docker's own */
  readonly network?: string;
  /**
   * Gives folders of other owners' engines, from whose unpacked images, and its own, an engine of processes may take layers over. Without it every
   * image has files of its own.
   */
  readonly neighbours?: () => Promise<readonly string[]>;
  readonly log: Logger;
}

/**
 * Opens a container engine.
 * @throws {FerryError} ENGINE_FAILED when `docker` is wanted and does not answer
 */
export async function openEngine(options: OpenEngineOptions): Promise<ContainerEngine> {
  const { engine, layout, folder, owner, network, log } = options;
  if (engine !== 'process') {
    try {
      const { DockerEngine } = await import('./docker/docker-engine.ts');
      return await DockerEngine.open({ layout, owner, log, ...(network === undefined ? {} : { network }) });
    } catch (error) {
      if (engine === 'docker' || !isFerryError(error, 'ENGINE_FAILED')) throw error;
      log.info({ why: messageOf(error) }, 'no Docker engine answers: modules run as processes');
    }
  }
  const { ProcessEngine } = await import('./process/process-engine.ts');
  const { neighbours: others } = options;
  const neighbours = others && (async () => (await others()).map((neighbour) => join(neighbour, 'processes')));
  return ProcessEngine.open({ layout, folder: join(folder, 'processes'), neighbours, log });
}
