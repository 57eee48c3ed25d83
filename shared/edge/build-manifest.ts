import type { z } from 'zod';
import { FerryError } from '../errors.ts';
import { type CreateOptions, splitCreateOptions } from './create-options.ts';
import { type EdgeModule, edgeAgentDesiredSchema, edgeHubDesiredSchema, edgeModuleSchema } from './manifest.ts';

/** A module to put into a deployment. */
export interface ModuleToDeploy {
  /** `registry/name@sha256:…`, or with a tag. */
  readonly image: string;
  readonly createOptions?: CreateOptions;
  /** The module's environment by name. */
  readonly env?: Readonly<Record<string, string | number | boolean>>;
  readonly version?: string;
  /** @default 'running' */
  readonly status?: EdgeModule['status'];
  /** @default 'always' */
  readonly restartPolicy?: EdgeModule['restartPolicy'];
  /** @default 'on-create' */
  readonly imagePullPolicy?: EdgeModule['imagePullPolicy'];
  /** Lower starts earlier. @default last */
  readonly startupOrder?: number;
}

/** How to sign in to a registry that the device pulls from. */
export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
  /** Host of the registry, with its port if any. */
  readonly address: string;
}

/** What goes into {@link edgeAgentDesired}. */
export interface EdgeAgentDesiredOptions {
  /** The modules by name. */
  readonly modules: Readonly<Record<string, ModuleToDeploy>>;
  /** By a name of one's own, such as the registry's first label. @default none */
  readonly registryCredentials?: Readonly<Record<string, RegistryCredentials>>;
  /** @default Microsoft's image, version 1.5 */
  readonly edgeAgentImage?: string;
  /** @default Microsoft's image, version 1.5 */
  readonly edgeHubImage?: string;
}

/** What goes into {@link edgeHubDesired}. */
export interface EdgeHubDesiredOptions {
  /** Routes by name. @default everything goes to the hub */
  readonly routes?: Readonly<Record<string, string>>;
  /** Seconds that a message waits for the cloud. @default 7200, as in Microsoft's templates */
  readonly timeToLiveSecs?: number;
}

/** JSON as it goes over the wire. */
export type WireObject = Record<string, unknown>;

/**
 * Makes the desired properties of `$edgeAgent`, schema 1.1, as they go over the wire (`createOptions` in pieces), valid for
 * Microsoft's runtime and for ours. The same options give the same text.
 * @throws {FerryError} DEPLOYMENT_INVALID naming everything that the schema refuses
 */
export function edgeAgentDesired(options: EdgeAgentDesiredOptions): WireObject {
  const desired = {
    schemaVersion: '1.1',
    runtime: {
      type: 'docker',
      settings: { minDockerVersion: 'v1.25', registryCredentials: options.registryCredentials ?? {} },
    },
    systemModules: {
      edgeAgent: {
        type: 'docker',
        settings: { image: options.edgeAgentImage ?? 'mcr.microsoft.com/azureiotedge-agent:1.5' },
      },
      edgeHub: {
        type: 'docker',
        status: 'running',
        restartPolicy: 'always',
        settings: { image: options.edgeHubImage ?? 'mcr.microsoft.com/azureiotedge-hub:1.5' },
      },
    },
    modules: Object.fromEntries(Object.entries(options.modules).map(([name, module]) => [name, wireModule(module)])),
  };
  return checked(desired, edgeAgentDesiredSchema, '$edgeAgent');
}

/**
 * Makes the desired properties of `$edgeHub`, schema 1.1.
 * @throws {FerryError} DEPLOYMENT_INVALID naming everything that the schema refuses
 */
export function edgeHubDesired(options: EdgeHubDesiredOptions = {}): WireObject {
  const desired = {
    schemaVersion: '1.1',
    routes: options.routes ?? { upstream: 'FROM /messages/* INTO $upstream' },
    storeAndForwardConfiguration: { timeToLiveSecs: options.timeToLiveSecs ?? 7200 },
  };
  return checked(desired, edgeHubDesiredSchema, '$edgeHub');
}

/**
 * Makes a whole deployment manifest, the `content` of a hub's configuration: `{ modulesContent: { $edgeAgent, $edgeHub } }`.
 * @throws {FerryError} DEPLOYMENT_INVALID naming everything that the schema refuses
 */
export function edgeManifest(options: EdgeAgentDesiredOptions & EdgeHubDesiredOptions): {
  readonly modulesContent: Record<string, WireObject>;
} {
  return {
    modulesContent: {
      $edgeAgent: { 'properties.desired': edgeAgentDesired(options) },
      $edgeHub: { 'properties.desired': edgeHubDesired(options) },
    },
  };
}

/**
 * Makes the content of a layered deployment: modules that come to those of the deployment below, whatever these are.
 * @throws {FerryError} DEPLOYMENT_INVALID naming everything that the schema refuses
 * @see https://learn.microsoft.com/azure/iot-edge/module-deployment-monitoring#layered-deployment
 */
export function edgeLayer(modules: Readonly<Record<string, ModuleToDeploy>>): {
  readonly modulesContent: Record<string, WireObject>;
} {
  const entries = Object.entries(modules).map(([name, module]): [string, WireObject] => [
    `properties.desired.modules.${name}`,
    checked(wireModule(module), edgeModuleSchema, `the module "${name}"`),
  ]);
  return { modulesContent: { $edgeAgent: Object.fromEntries(entries) } };
}

function wireModule(module: ModuleToDeploy): WireObject {
  const { image, createOptions = {}, env, version, startupOrder } = module;
  return {
    ...(version === undefined ? {} : { version }),
    type: 'docker',
    status: module.status ?? 'running',
    restartPolicy: module.restartPolicy ?? 'always',
    imagePullPolicy: module.imagePullPolicy ?? 'on-create',
    ...(startupOrder === undefined ? {} : { startupOrder }),
    ...(env === undefined
      ? {}
      : { env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, { value }])) }),
    settings: { image, ...splitCreateOptions(createOptions) },
  };
}

function checked(desired: WireObject, schema: z.ZodType, what: string): WireObject {
  const result = schema.safeParse(desired);
  if (result.success) return desired;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new FerryError('DEPLOYMENT_INVALID', `Cannot make the desired properties of ${what}: ${problems.join('; ')}`);
}
