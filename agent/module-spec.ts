import { digestOf } from '../shared/digest.ts';
import { type CreateOptions, parseCreateOptions } from '../shared/edge/create-options.ts';
import type { EdgeModule } from '../shared/edge/manifest.ts';
import { rehearsalObstacle } from './rehearsal-spec.ts';

/** What one module is to be. */
export interface ModuleSpec {
  readonly name: string;
  readonly version?: string;
  /** The image as the deployment names it. */
  readonly image: string;
  readonly createOptions: CreateOptions;
  readonly environment: Readonly<Record<string, string>>;
  readonly status: 'running' | 'stopped';
  readonly restartPolicy: EdgeModule['restartPolicy'];
  readonly imagePullPolicy: EdgeModule['imagePullPolicy'];
  /** Lower starts earlier. */
  readonly startupOrder: number;
  /** The same for two specifications of which one container can be both; a change of it makes a new container. */
  readonly fingerprint: string;
  /** Why it cannot run beside the one that it replaces. @default it can */
  readonly rehearsalObstacle?: string;
}

/** Makes a module's specification from what a deployment says of it. */
export function moduleSpec(name: string, module: EdgeModule): ModuleSpec {
  const createOptions = parseCreateOptions(module.settings);
  const environment = Object.fromEntries(
    Object.entries(module.env ?? {})
      .map(([variable, { value }]): [string, string] => [variable, String(value)])
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  const { image } = module.settings;
  const obstacle = rehearsalObstacle({ createOptions });
  return {
    name,
    ...(module.version === undefined ? {} : { version: module.version }),
    image,
    createOptions,
    environment,
    status: module.status,
    restartPolicy: module.restartPolicy,
    imagePullPolicy: module.imagePullPolicy,
    startupOrder: module.startupOrder,
    ...(obstacle === undefined ? {} : { rehearsalObstacle: obstacle }),
    // Only what is fixed when a container is made; IoT Edge also counts version, policies and order, and so stops for nothing.
    fingerprint: digestOf(JSON.stringify([image, createOptions, environment])).slice(
      'sha256:'.length,
      'sha256:'.length + 16,
    ),
  };
}
