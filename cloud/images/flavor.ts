import { dataMountPoint } from '../../shared/containers/engine.ts';
import type { LayerEntry } from '../../shared/oci/tar-layer.ts';

/** What an image is meant for: Azure ML's `WebApiContainer`, `IoTContainer` and `AccelContainer`. */
export const flavors = ['web', 'edge', 'fpga'] as const;

/** Label of every image that says its flavor. */
export const flavorLabel = 'vnd.modelferry.flavor';

export type Flavor = (typeof flavors)[number];

/** What a flavor makes of an image. */
export interface FlavorTraits {
  /** Variables of the scoring server, as `NAME=value`. */
  readonly environment: readonly string[];
  readonly entries: readonly LayerEntry[];
  /** Folders that outlive a container. */
  readonly volumes: readonly string[];
  /** How often an engine asks for the image's health, in seconds. */
  readonly healthIntervalSeconds: number;
}

const traits: Readonly<Record<Flavor, FlavorTraits>> = {
  // A host of its own: as many workers as it has cores.
  web: { environment: [], entries: [], volumes: [], healthIntervalSeconds: 30 },
  // A gateway that is shared: one worker, so that a model is in memory once; a folder for collected rows that any user may write to and
  // that is there under Microsoft's runtime too; health seldom, since each question starts a process.
  edge: {
    environment: ['WORKER_COUNT=1', `MODELFERRY_DATA_DIR=${dataMountPoint}`],
    entries: [{ kind: 'directory', path: dataMountPoint, mode: 0o1777 }],
    volumes: [dataMountPoint],
    healthIntervalSeconds: 120,
  },
  // An accelerator takes one request of one shape at a time.
  fpga: {
    environment: ['WORKER_COUNT=1', 'MODELFERRY_BATCH_ROWS_MAX=1'],
    entries: [],
    volumes: [],
    healthIntervalSeconds: 30,
  },
};

/** Gives what a flavor makes of an image. */
export function flavorTraits(flavor: Flavor): FlavorTraits {
  return traits[flavor];
}
