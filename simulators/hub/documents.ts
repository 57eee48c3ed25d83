import type { Address } from './identity/identity.ts';
import type { Presence } from './identity/presence.ts';
import type { DeviceRecord, ModuleRecord, Registry } from './identity/registry.ts';
import type { KeyedRow } from './query/run.ts';
import { type Section, type Twin, twinEtag } from './twins/twin.ts';

/** What the hub knows that goes into the documents that callers get. */
export interface Sources {
  readonly registry: Registry;
  readonly presence: Presence;
  /** Gives how many messages wait for a device. */
  readonly countCommands: (deviceId: string) => number;
}

/** Gives a device as the registry's REST calls show it. @see https://learn.microsoft.com/rest/api/iothub/service/devices */
export function deviceDocument(sources: Sources, { identity }: DeviceRecord): Record<string, unknown> {
  const { deviceScope, parentScopes, ...rest } = identity;
  return {
    ...rest,
    ...sources.presence.of(identity),
    cloudToDeviceMessageCount: sources.countCommands(identity.deviceId),
    ...(deviceScope === null ? {} : { deviceScope }),
    ...(parentScopes.length === 0 ? {} : { parentScopes }),
  };
}

/** Gives a module as the registry's REST calls show it. @see https://learn.microsoft.com/rest/api/iothub/service/modules */
export function moduleDocument(sources: Sources, { identity }: ModuleRecord): Record<string, unknown> {
  return { ...identity, ...sources.presence.of(identity), cloudToDeviceMessageCount: 0 };
}

/** Gives a twin as back ends and queries see it. @see https://learn.microsoft.com/rest/api/iothub/service/devices/get-twin */
export function twinDocument(sources: Sources, address: Address): Record<string, unknown> {
  const device = sources.registry.device(address.deviceId);
  return address.moduleId === undefined
    ? ofDevice(sources, device)
    : ofModule(sources, { device, module: sources.registry.module(address.deviceId, address.moduleId) });
}

/** Gives the twins of all devices as rows for queries. */
export function* deviceRows(sources: Sources): Iterable<KeyedRow> {
  for (const [key, device] of sources.registry.devices) yield { key, row: ofDevice(sources, device) };
}

/** Gives the twins of all modules as rows for queries. */
export function* moduleRows(sources: Sources): Iterable<KeyedRow> {
  for (const [deviceId, device] of sources.registry.devices) {
    for (const [moduleId, module] of device.modules) {
      yield { key: `${deviceId}/${moduleId}`, row: ofModule(sources, { device, module }) };
    }
  }
}

function ofDevice(sources: Sources, device: DeviceRecord): Record<string, unknown> {
  const { identity, twin } = device;
  return {
    deviceId: identity.deviceId,
    ...common(sources, { device, twin, authentication: identity.authentication, address: identity }),
    cloudToDeviceMessageCount: sources.countCommands(identity.deviceId),
    capabilities: identity.capabilities,
    ...(identity.deviceScope === null ? {} : { deviceScope: identity.deviceScope }),
    ...(identity.parentScopes.length === 0 ? {} : { parentScopes: identity.parentScopes }),
  };
}

function ofModule(
  sources: Sources,
  { device, module }: { readonly device: DeviceRecord; readonly module: ModuleRecord },
): Record<string, unknown> {
  const { identity, twin } = module;
  return {
    deviceId: identity.deviceId,
    moduleId: identity.moduleId,
    ...common(sources, { device, twin, authentication: identity.authentication, address: identity }),
    cloudToDeviceMessageCount: 0,
  };
}

function common(
  sources: Sources,
  of: {
    readonly device: DeviceRecord;
    readonly twin: Twin;
    readonly authentication: DeviceRecord['identity']['authentication'];
    readonly address: Address;
  },
): Record<string, unknown> {
  const { device, twin, authentication } = of;
  const { connectionState, lastActivityTime } = sources.presence.of(of.address);
  return {
    etag: twinEtag(twin),
    deviceEtag: device.identity.etag,
    status: device.identity.status,
    ...(device.identity.statusReason === null ? {} : { statusReason: device.identity.statusReason }),
    statusUpdateTime: device.identity.statusUpdatedTime,
    connectionState,
    lastActivityTime,
    authenticationType: authentication.type,
    x509Thumbprint: authentication.x509Thumbprint,
    modelId: twin.modelId ?? '',
    version: twin.version,
    tags: twin.tags,
    properties: { desired: sectionDocument(twin.desired), reported: sectionDocument(twin.reported) },
    ...(twin.configurations === undefined ? {} : { configurations: twin.configurations }),
  };
}

function sectionDocument(section: Section): Record<string, unknown> {
  return { ...section.value, $metadata: section.metadata, $version: section.version };
}
