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
}): {
  readonly deployments: readonly Deployment[];
  readonly images: Readonly<Record<string, ImageFacts>>;
} {
  const { count, firstMs, endMs } = options;
  const everyMs = ((endMs - firstMs) * 2) / 3 / count;
  const deployments = Array.from({ length: count }, (_, index) => ({
    id: `fleet-${index + 1}`,
    atMs: Math.floor(firstMs + index * everyMs),
    image: imageOf(index + 1),
  }));
  return { deployments, images: Object.fromEntries(deployments.map(({ image }) => [image, imageFacts])) };
}

function imageOf(version: number): string {
  return `registry.example/fleet/model@sha256:${String(version).padStart(64, '0')}`;
}

/**
 * Gives the content of a deployment to all devices, as the hub takes it.
 * @see https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub
 */
export function configurationOf({ id, image }: Deployment, priority: number) {
  const createOptions = JSON.stringify({
    ExposedPorts: { '5001/tcp': {} },
    HostConfig: { PortBindings: { '5001/tcp': [{ HostPort: '5001' }] } },
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
      [moduleName]: { type: 'docker', status: 'running', restartPolicy: 'always', settings: { image, createOptions } },
    },
  };
  return {
    id,
    priority,
    targetCondition: '*',
    content: { modulesContent: { $edgeAgent: { 'properties.desired': agent } } },
  };
}
