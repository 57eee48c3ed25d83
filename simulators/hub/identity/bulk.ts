import { z } from 'zod';
import type { Clock } from '../../../shared/clock.ts';
import { HubError, type HubErrorName } from '../hub-error.ts';
import { type JsonObject, isObject } from '../json.ts';
import { timeOf } from '../time.ts';
import { checkPatch, checkSize } from '../twins/limits.ts';
import { newTwin, replaceSection } from '../twins/twin.ts';
import type { Twins } from '../twins/twins.ts';
import { type DeviceBody, type ModuleBody, checkEtag, deviceBodySchema, isSystemModule } from './identity.ts';
import type { Registry } from './registry.ts';

/** What happens to one device or module of many. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-bulk-identity-mgmt */
export const bulkEntrySchema = deviceBodySchema.omit({ deviceId: true }).extend({
  id: z.string(),
  moduleId: z.string().nullish(),
  managedBy: z.string().max(128).nullish(),
  eTag: z.string().nullish(),
  twinETag: z.string().nullish(),
  /** `create`, `update`, …; their case does not matter. */
  importMode: z.string().nullish(),
  tags: z.record(z.string(), z.unknown()).nullish(),
  properties: z.object({ desired: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

/** One device or module of many, and what is to happen to it. */
export type BulkEntry = z.infer<typeof bulkEntrySchema>;

/** Why nothing happened to one of many. */
export interface BulkFailure {
  readonly deviceId: string;
  readonly moduleId?: string;
  readonly errorCode: HubErrorName;
  readonly errorStatus: string;
}

/** The parts of the hub that this works with. */
export interface BulkOptions {
  readonly registry: Registry;
  readonly twins: Twins;
  readonly clock: Clock;
}

/** Does what an entry says, or says why it could not be done. */
export function applyBulkEntry(entry: BulkEntry, options: BulkOptions): BulkFailure | undefined {
  try {
    act(entry, options);
    return undefined;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    const module = typeof entry.moduleId === 'string' ? { moduleId: entry.moduleId } : {};
    return { deviceId: entry.id, ...module, errorCode: error.errorName, errorStatus: error.message };
  }
}

function act(entry: BulkEntry, options: BulkOptions): void {
  const { registry, twins } = options;
  const { id: deviceId, eTag, twinETag, tags, properties } = entry;
  const { mode, ifMatches } = readMode(entry.importMode ?? 'createOrUpdate');
  const moduleId = entry.moduleId ?? undefined;
  const address = { deviceId, moduleId };
  const ifMatch = ifMatches ? (eTag ?? '*') : '*';
  const exists = registry.find(address) !== undefined;
  switch (mode) {
    case 'create':
      return create(entry, options);
    case 'createorupdate':
      return exists ? update(entry, registry, ifMatch) : create(entry, options);
    case 'update':
      return update(entry, registry, ifMatch);
    case 'delete':
      checkEtag(ifMatch, registry.at(address).identity.etag);
      return moduleId === undefined
        ? registry.removeDevice(deviceId, '*')
        : registry.removeModule({ deviceId, moduleId }, '*');
    case 'updatetwin': {
      const change = { tags: objectOf(tags), desired: objectOf(properties?.desired) };
      return twins.patch(address, change, ifMatches ? (twinETag ?? undefined) : undefined);
    }
    default:
      return mode satisfies never;
  }
}

const modes = ['create', 'createorupdate', 'update', 'delete', 'updatetwin'] as const;

function readMode(text: string): { readonly mode: (typeof modes)[number]; readonly ifMatches: boolean } {
  const wanted = text.toLowerCase();
  const suffix = 'ifmatchetag';
  const mode = modes.find((known) => wanted === known || (wanted === known + suffix && known !== 'create'));
  if (mode !== undefined) return { mode, ifMatches: wanted.endsWith(suffix) };
  throw new HubError('ArgumentInvalid', `The import mode "${text.slice(0, 40)}" is not known`);
}

function create(entry: BulkEntry, { registry, twins, clock }: BulkOptions): void {
  const given = readTwin(entry, timeOf(clock.nowMs()));
  const module = moduleOf(entry);
  if (module === undefined) return void registry.createDevice(deviceOf(entry), given);
  registry.createModule(module);
  twins.patch(module, { tags: objectOf(entry.tags), desired: objectOf(entry.properties?.desired) });
}

function update(entry: BulkEntry, registry: Registry, ifMatch: string): void {
  const module = moduleOf(entry);
  if (module === undefined) return void registry.updateDevice(deviceOf(entry), ifMatch);
  // System modules come and go with their device.
  registry.updateModule(isSystemModule(module.moduleId) ? { ...module, managedBy: null } : module, ifMatch);
}

function deviceOf(entry: BulkEntry): DeviceBody {
  const { id, status, statusReason, authentication, capabilities, deviceScope, parentScopes } = entry;
  return { deviceId: id, status, statusReason, authentication, capabilities, deviceScope, parentScopes };
}

function moduleOf({ id, moduleId, managedBy, authentication }: BulkEntry): ModuleBody | undefined {
  if (moduleId == null) return undefined;
  return { deviceId: id, moduleId, managedBy, authentication };
}

function readTwin(entry: BulkEntry, now: string): typeof newTwin {
  const tags = objectOf(entry.tags) ?? {};
  const desired = withoutOwn(objectOf(entry.properties?.desired));
  checkPatch('Tags', tags);
  checkSize('Tags', tags);
  if (desired === undefined) return { ...newTwin, tags };
  checkPatch('Properties.Desired', desired);
  checkSize('Properties.Desired', desired);
  const section = replaceSection({ ...newTwin.desired, version: 0 }, desired, { time: now, withVersion: true });
  return { ...newTwin, tags, desired: section };
}

/** Drops what only the hub writes. */
function withoutOwn(desired: JsonObject | undefined): JsonObject | undefined {
  if (desired === undefined) return undefined;
  const { $version: _version, $metadata: _metadata, ...rest } = desired;
  return rest;
}

function objectOf(value: unknown): JsonObject | undefined {
  return isObject(value) ? value : undefined;
}
