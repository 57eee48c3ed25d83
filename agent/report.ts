import type { ContainerState } from '../shared/containers/engine.ts';
import { splitCreateOptions } from '../shared/edge/create-options.ts';
import type { DesiredState } from './desired-state.ts';
import { type MadeFrom, madeFrom } from './labels.ts';
import type { ModuleSpec } from './module-spec.ts';
import type { ObservedModule } from './plan.ts';
import { restartCountMax, restarts } from './restart-policy.ts';

/** How carrying out the last desired state went, with IoT Edge's codes. */
export interface DesiredStatus {
  /** 200 done, 400 wrong format, 406 the agent does not run, 412 schema version, 417 no deployment, 500 failed. */
  readonly code: 200 | 400 | 406 | 412 | 417 | 500;
  /** Empty for 200. */
  readonly description: string;
}

/** What the reported properties are made from. */
export interface ReportInput {
  /** `$version` of the last desired state that was tried; it stays the one before while one is being carried out. */
  readonly lastDesiredVersion: number;
  readonly status: DesiredStatus;
  /** The desired state that is in force, if any. */
  readonly desired: DesiredState | undefined;
  readonly containers: readonly ContainerState[];
  readonly observed: ReadonlyMap<string, ObservedModule>;
  /** When the agent was started, ISO 8601. */
  readonly agentStartedAt: string;
  readonly agentVersion: string;
}

/** JSON as it goes over the wire. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
/** A JSON object. */
export type JsonObject = { [name: string]: Json };

/** IoT Edge's text for "never". */
const never = '0001-01-01T00:00:00Z';
/** Longest description that is reported, in characters; a twin's value may have 4,096 bytes. */
const descriptionLengthMax = 1000;

/** Makes the reported properties of `$edgeAgent` in the exact shape that IoT Edge gives them. Pure. */
export function reportedState(input: ReportInput): JsonObject {
  const { desired } = input;
  return {
    schemaVersion: '1.1',
    version: { version: input.agentVersion, build: 'modelferry', commit: '' },
    lastDesiredVersion: input.lastDesiredVersion,
    lastDesiredStatus: {
      code: input.status.code,
      description: input.status.description.slice(0, descriptionLengthMax),
    },
    runtime: {
      type: 'docker',
      settings: {
        minDockerVersion: desired?.manifest.runtime.settings.minDockerVersion ?? '',
        // Names of registries only: what a device is given to sign in with does not go back to the hub.
        registryCredentials: {},
      },
      platform: { os: process.platform, architecture: machineName(), version: input.agentVersion },
    },
    systemModules: systemModules(input),
    modules: Object.fromEntries(
      input.containers.map((container) => {
        const spec = desired?.modules.find(({ name }) => name === container.name);
        return [container.name, reportedModule(container, spec, input)];
      }),
    ),
  };
}

function reportedModule(container: ContainerState, spec: ModuleSpec | undefined, input: ReportInput): JsonObject {
  const made = madeFrom(container.labels);
  const observed = input.observed.get(container.name);
  const runtimeStatus = input.status.code === 406 ? 'unknown' : runtimeStatusOf(container, spec, observed);
  return {
    type: 'docker',
    ...(spec?.version === undefined ? {} : { version: spec.version }),
    status: spec?.status ?? 'stopped',
    restartPolicy: spec?.restartPolicy ?? 'never',
    imagePullPolicy: spec?.imagePullPolicy ?? 'on-create',
    ...(spec === undefined ? {} : { startupOrder: spec.startupOrder }),
    exitCode: container.exitCode,
    statusDescription: runtimeStatus === 'running' ? 'running' : `${container.status} (${container.exitCode})`,
    lastStartTimeUtc: container.startedAt ?? never,
    lastExitTimeUtc: container.finishedAt ?? never,
    restartCount: observed?.restartCount ?? 0,
    lastRestartTimeUtc: (observed?.restartCount ?? 0) > 0 ? (container.startedAt ?? never) : never,
    runtimeStatus,
    settings: settingsOf(made),
    env: Object.fromEntries(Object.entries(made.environment).map(([name, value]) => [name, { value }])),
  };
}

/** How IoT Edge calls a container's state (edgelet-docker, module.rs), and what its policy makes of it. */
function runtimeStatusOf(
  container: ContainerState,
  spec: ModuleSpec | undefined,
  observed: ObservedModule | undefined,
): string {
  if (container.status === 'running') return 'running';
  if (container.status === 'dead') return 'dead';
  if (spec?.status === 'running' && container.status === 'exited' && restarts(spec.restartPolicy, container.exitCode)) {
    return (observed?.restartCount ?? 0) < restartCountMax ? 'backoff' : 'failed';
  }
  return container.exitCode === 0 ? 'stopped' : 'failed';
}

function settingsOf(made: MadeFrom): JsonObject {
  return { image: made.image, imageHash: made.imageDigest, ...splitCreateOptions(made.createOptions) };
}

function systemModules({ desired, agentStartedAt, status }: ReportInput): JsonObject {
  const system = desired?.manifest.systemModules;
  const edgeAgent: JsonObject = {
    type: 'docker',
    exitCode: 0,
    statusDescription: 'running',
    lastStartTimeUtc: agentStartedAt,
    lastExitTimeUtc: never,
    runtimeStatus: status.code === 406 ? 'unknown' : 'running',
    imagePullPolicy: 'on-create',
    settings: { image: system?.edgeAgent.settings.image ?? '', imageHash: '', createOptions: '{}' },
  };
  if (system === undefined) return { edgeAgent };
  const edgeHub: JsonObject = {
    type: 'docker',
    status: system.edgeHub.status,
    restartPolicy: system.edgeHub.restartPolicy,
    imagePullPolicy: system.edgeHub.imagePullPolicy,
    exitCode: 0,
    statusDescription: 'not run: Modelferry has no edge hub, routes between modules are not carried out',
    lastStartTimeUtc: never,
    lastExitTimeUtc: never,
    restartCount: 0,
    lastRestartTimeUtc: never,
    runtimeStatus: 'stopped',
    settings: { image: system.edgeHub.settings.image, imageHash: '', createOptions: '{}' },
  };
  return { edgeAgent, edgeHub };
}

/** What `uname -m` says, which is what IoT Edge reports. */
function machineName(): string {
  if (process.arch === 'x64') return 'x86_64';
  return process.arch === 'arm64' ? 'aarch64' : process.arch;
}
