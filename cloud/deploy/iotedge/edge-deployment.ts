import { isIPv6 } from 'node:net';
import { digestOf } from '../../../shared/digest.ts';
import type { NewDeployment } from '../../azure/hub-client.ts';
import type { DesiredService } from '../deployer.ts';
import { scoringEnvironment } from '../scoring-environment.ts';
import type { ServiceSettings } from '../settings/definitions.ts';
import type { CarriedModules } from './carried-modules.ts';
import { deploymentContent } from './deployment-content.ts';

/** The port that the scoring server listens on in its container, Azure ML's; and on the device where none is asked for. */
const scoringPort = 5001;
const exposedPort = `${scoringPort}/tcp`;
/** How much of the content's digest stands in a deployment's id. */
const idDigits = 12;
const megabyte = 1_048_576;
const wholePriority = 10;
const layerPriority = 20;

/** What a deployment is made of. */
export interface EdgeDeploymentParts extends Pick<DesiredService, 'name' | 'scope' | 'settings'> {
  /** `<registry>/<name>@sha256:…` */
  readonly image: string;
  /** Of the accelerator's runtime, where there is one. */
  readonly acceleratorImage?: string | undefined;
  /** Other modules that come with the service. @default none */
  readonly carried?: CarriedModules | undefined;
  /** What the module's own field `version` says: by that alone a deployment can differ. @default no such field */
  readonly version?: string | undefined;
}

/**
 * Writes the IoT Edge deployment of a service. The same parts give the same deployment with the same id, so that one which is in
 * the hub already is known again.
 * @throws {FerryError} DEPLOYMENT_INVALID when IoT Edge's schema refuses it, or modules are in each other's way
 */
export function edgeDeployment(parts: EdgeDeploymentParts): NewDeployment {
  const { name, image, acceleratorImage, carried, version, scope, settings } = parts;
  const { hostAddress, memoryMb, layered } = settings;
  const priority = priorityOf(settings);
  const targetCondition = conditionOf(settings);
  const own = {
    [name]: {
      ...(version === undefined ? {} : { version }),
      image,
      createOptions: {
        ExposedPorts: { [exposedPort]: {} },
        HostConfig: {
          PortBindings: { [exposedPort]: [{ HostIp: hostAddress, HostPort: String(portOf(settings)) }] },
          ...(memoryMb === undefined ? {} : { Memory: memoryMb * megabyte }),
        },
      },
      // Modules of a device find each other by their names.
      env: scoringEnvironment({ name, scope, settings, acceleratorHost: acceleratorModule(name) }),
    },
    ...(acceleratorImage === undefined
      ? {}
      : { [acceleratorModule(name)]: { ...runtimeModule(settings), image: acceleratorImage } }),
  };
  const content = deploymentContent({
    service: name,
    own,
    carried,
    isLayer: layered,
    binding: { address: hostAddress, port: portOf(settings) },
  });
  const digest = digestOf(JSON.stringify({ content, targetCondition, priority, scope }));
  return {
    id: `${name}-${digest.slice('sha256:'.length, 'sha256:'.length + idDigits)}`,
    content,
    targetCondition,
    priority,
    // A label takes no slash.
    labels: { createdBy: 'modelferry', service: name, workspace: scope.replaceAll('/', ':') },
  };
}

/** Name of the module that an accelerator's runtime is, beside the service's own. */
export function acceleratorModule(service: string): string {
  return `${service}-accelerator`;
}

/** The runtime gets the device's files, and starts before the module that asks it. */
function runtimeModule({ acceleratorDevices, acceleratorEnv = {}, acceleratorPort }: ServiceSettings): object {
  const devices = acceleratorDevices?.split(',') ?? [];
  return {
    createOptions: {
      ExposedPorts: { [`${acceleratorPort}/tcp`]: {} },
      HostConfig: {
        Devices: devices.map((path) => ({ PathOnHost: path, PathInContainer: path, CgroupPermissions: 'rwm' })),
      },
    },
    env: acceleratorEnv,
    startupOrder: 1,
  };
}

/** Gives the condition on devices in the hub's own words. */
export function conditionOf({ targetCondition, deviceTags }: ServiceSettings): string {
  return targetCondition?.trim() ?? tagCondition(deviceTags ?? {});
}

/** Writes the condition that holds for the devices with all of these tags: `tags.site='lab' AND tags.line='3'`. */
export function tagCondition(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([key, value]) => `tags.${key}='${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`)
    .join(' AND ');
}

/**
 * Gives the address that a service on IoT Edge is reached at, as far as the workspace can know: the device's own address where the
 * port is bound to one, else this machine, which the device then has to be.
 */
export function edgeAddress(settings: ServiceSettings): string {
  const { hostAddress } = settings;
  const port = portOf(settings);
  if (hostAddress === '0.0.0.0' || hostAddress === '::') return `http://127.0.0.1:${port}`;
  return `http://${isIPv6(hostAddress) ? `[${hostAddress}]` : hostAddress}:${port}`;
}

/** A layer has to have a higher priority than what it is laid over. */
function priorityOf({ priority, layered }: ServiceSettings): number {
  return priority ?? (layered ? layerPriority : wholePriority);
}

function portOf({ port = scoringPort }: ServiceSettings): number {
  return port;
}
