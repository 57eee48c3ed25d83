import type { CreateOptions } from '../shared/edge/create-options.ts';
import { scoringPort } from './ask-module.ts';
import type { ModuleSpec } from './module-spec.ts';

/** What a module's rehearsal is made of: the module as it is to be, but where no caller and no neighbour finds it. */
export interface RehearsalSpec {
  readonly createOptions: CreateOptions;
  readonly environment: Readonly<Record<string, string>>;
}

/** Stands behind a module's name in that of its rehearsal; no module's name has a dot. */
const nameEnd = '.rehearsal';

/** Variables that a rehearsal does without: they would make it take ports or identities of the one that runs, or send rows. */
const leftOut = [
  'EdgeHubConnectionString',
  'MODELFERRY_GRPC_PORT',
  'MODELFERRY_HEALTH_PORT',
  'MODELFERRY_UPLOAD_CONTAINER',
  'MODELFERRY_UPLOAD_SAS_FILE',
];

/** Fields of `HostConfig` by which a container holds what two cannot have, and how that is told. */
const exclusive: Readonly<Record<string, string>> = {
  Devices: 'devices',
  DeviceRequests: 'devices',
  DeviceCgroupRules: 'devices',
  Privileged: 'all devices',
  VolumesFrom: "another container's volumes",
};

/** Gives the name of the container in which a module rehearses. */
export function rehearsalName(module: string): string {
  return `${module}${nameEnd}`;
}

/** Gives the module that rehearses in a container; nothing for a container that is a module itself. */
export function rehearsingModule(container: string): string | undefined {
  return container.endsWith(nameEnd) ? container.slice(0, -nameEnd.length) : undefined;
}

/**
 * Says why a module cannot run beside the one that it replaces; nothing when it can. Only what can be asked whether it is good rehearses:
 * a second one of any other module would do its work twice, and prove nothing.
 */
export function rehearsalObstacle({ createOptions }: Pick<ModuleSpec, 'createOptions'>): string | undefined {
  const host = createOptions.HostConfig ?? {};
  if (!host.PortBindings?.[scoringPort]?.[0]?.HostPort)
    return `it binds no scoring port (${scoringPort}) to be asked on`;
  const network = host['NetworkMode'];
  if (network === 'host' || (typeof network === 'string' && network.startsWith('container:'))) {
    return `its network is "${network}", where it cannot have another port`;
  }
  for (const [field, what] of Object.entries(exclusive)) {
    if (isGiven(host[field])) return `it holds ${what} (${field})`;
  }
  const folder = host.Binds?.find((bind) => !/:(?:[^:]*,)?ro(?:,[^:]*)?$/.test(bind));
  if (folder !== undefined) return `it may write to "${folder.split(':')[0]}" (Binds)`;
  return isGiven(host['Mounts']) ? 'it has mounts (Mounts)' : undefined;
}

/** Gives what the rehearsal of a module is made of. @param port a free port of this machine */
export function rehearsalSpec(spec: ModuleSpec, port: number): RehearsalSpec {
  const { NetworkingConfig: _network, Hostname: _name, ...options } = spec.createOptions;
  const own = (options.Env ?? []).filter((pair) => !leftOut.some((name) => pair.startsWith(`${name}=`)));
  return {
    createOptions: {
      ...options,
      Env: own,
      HostConfig: {
        ...options.HostConfig,
        PortBindings: { [scoringPort]: [{ HostIp: '127.0.0.1', HostPort: String(port) }] },
      },
    },
    environment: { ...withoutLeftOut(spec.environment), AML_MODEL_DC_STORAGE_ENABLED: 'false' },
  };
}

/** Leaves out the variables that a rehearsal does without. */
export function withoutLeftOut(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !leftOut.includes(name)));
}

function isGiven(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}
