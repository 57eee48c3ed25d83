/** One deployment of a run. */
export interface Deployment {
  readonly id: string;
  /** When, in milliseconds from the begin. */
  readonly atMs: number;
  readonly image: string;
}

/** What an image is, as the program of the devices is told. */
export interface ImageFacts {
  readonly bytes: number;
  readonly changedBytes: number;
}

/** Name of the module that is deployed. */
export const moduleName = 'model';

/** Base, engine and scoring server, and a model that changes with each version, in bytes. */
const imageFacts: ImageFacts = { bytes: 40_000_000, changedBytes: 4_000_000 };

/** Makes a run's deployments, evenly over the first two thirds of its time, and says what their images are. */
export function makeDeployments(options: {
  readonly count: number;
  readonly firstMs: number;
  readonly endMs: number;
  /** Names of the images, where there are any. @default ones that light devices alone can pull */
  readonly images?: readonly string[] | undefined;
}): {
  readonly deployments: readonly Deployment[];
  readonly images: Readonly<Record<string, ImageFacts>>;
} {
  const { count, firstMs, endMs } = options;
  const everyMs = ((endMs - firstMs) * 2) / 3 / count;
  const deployments = Array.from({ length: count }, (_, index) => ({
    id: `fleet-${index + 1}`,
    atMs: Math.floor(firstMs + index * everyMs),
    image: options.images?.[index] ?? imageOf(index + 1),
  }));
  return { deployments, images: Object.fromEntries(deployments.map(({ image }) => [image, imageFacts])) };
}

function imageOf(version: number): string {
  return `registry.example/fleet/model@sha256:${String(version).padStart(64, '0')}`;
}

/** The devices that a configuration means, and the port on which they score. */
interface Place {
  readonly targetCondition: string;
  readonly priority: number;
  readonly port: number;
  /** What the module's own field `version` says: all that another try differs by. @default no such field */
  readonly version?: string;
}

/** The port that a scoring image exposes, and on a device of its own listens on. */
const scoringPort = 5001;

/**
 * Gives the content of a deployment to all devices, as the hub takes it. Those that share a machine are given it by themselves, before all others,
 * each with a port of its own. What comes first is to be made first.
 * @param order of the deployment among the others, from 0
 * @param ports by device
 * @see https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub
 */
export function configurationsOf(
  deployment: Deployment,
  order: number,
  ports: ReadonlyMap<string, number> = new Map(),
) {
  const own = [...ports].map(([deviceId, port]) => ({
    ...configurationOf(deployment, { targetCondition: `deviceId = '${deviceId}'`, priority: 2 * order + 2, port }),
    id: `${deployment.id}-${deviceId}`,
  }));
  return [...own, configurationOf(deployment, { targetCondition: '*', priority: 2 * order + 1, port: scoringPort })];
}

/**
 * Gives the content of a deployment once more, for devices that have taken it back: a device does not try the same again until it changes.
 * @param order as that of the deployment
 */
export function againOf(deployment: Deployment, order: number, deviceIds: readonly string[]) {
  const targetCondition = `deviceId IN [${deviceIds.map((deviceId) => `'${deviceId}'`).join(', ')}]`;
  const place = { targetCondition, priority: 2 * order + 2, port: scoringPort, version: 'again' };
  return { ...configurationOf(deployment, place), id: `${deployment.id}-again` };
}

function configurationOf({ id, image }: Deployment, { targetCondition, priority, port, version }: Place) {
  const createOptions = JSON.stringify({
    ExposedPorts: { [`${scoringPort}/tcp`]: {} },
    HostConfig: { PortBindings: { [`${scoringPort}/tcp`]: [{ HostPort: String(port) }] } },
  });
  const system = (name: string) => ({
    type: 'docker',
    settings: { image: `mcr.microsoft.com/azureiotedge-${name}:1.5` },
  });
  const agent = {
    schemaVersion: '1.1',
    runtime: { type: 'docker', settings: { minDockerVersion: 'v1.25' } },
    systemModules: {
      edgeAgent: system('agent'),
      edgeHub: { ...system('hub'), status: 'running', restartPolicy: 'always' },
    },
    modules: {
      [moduleName]: {
        ...(version === undefined ? {} : { version }),
        type: 'docker',
        status: 'running',
        restartPolicy: 'always',
        settings: { image, createOptions },
      },
    },
  };
  return {
    id,
    priority,
    targetCondition,
    content: { modulesContent: { $edgeAgent: { 'properties.desired': agent } } },
  };
}
