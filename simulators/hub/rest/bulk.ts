import { z } from 'zod';
import type { Clock } from '../../../shared/clock.ts';
import type { Sources } from '../documents.ts';
import { HubError, type HubErrorName } from '../hub-error.ts';
import { type DeviceBody, checkEtag, deviceBodySchema } from '../identity/identity.ts';
import { isObject } from '../json.ts';
import type { Store } from '../store.ts';
import { checkPatch, checkSize } from '../twins/limits.ts';
import { newTwin, replaceSection } from '../twins/twin.ts';
import type { Twins } from '../twins/twins.ts';
import { timeOf } from '../time.ts';
import { type Answer, type Call, type Route, readBody } from './route.ts';

/** How many devices one call may name. */
const devicesPerCallMax = 100;

const entrySchema = deviceBodySchema.omit({ deviceId: true }).extend({
  id: z.string(),
  eTag: z.string().nullish(),
  twinETag: z.string().nullish(),
  importMode: z.string(),
  tags: z.record(z.string(), z.unknown()).nullish(),
  properties: z.object({ desired: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

type Entry = z.infer<typeof entrySchema>;

interface Failure {
  readonly deviceId: string;
  readonly errorCode: HubErrorName;
  readonly errorStatus: string;
}

/** The parts of the hub that bulk operations work with. */
export interface BulkOptions {
  readonly sources: Sources;
  readonly twins: Twins;
  readonly store: Store;
  readonly clock: Clock;
}

/** Many devices in one call. @see https://learn.microsoft.com/rest/api/iothub/service/bulk-registry/update-registry */
export function bulkRoutes(options: BulkOptions): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/devices',
      allowed: { service: ['RegistryWrite'] },
      handle: (call) => options.store.together(() => updateMany(call, options)),
    },
  ];
}

function updateMany(call: Call, options: BulkOptions): Answer {
  const entries = readBody(call, z.array(entrySchema).min(1));
  if (entries.length > devicesPerCallMax) {
    throw new HubError(
      'ArgumentInvalid',
      `${entries.length} devices, ${devicesPerCallMax} at most are allowed in one call`,
    );
  }
  const ids = entries.map(({ id }) => id);
  if (new Set(ids).size < ids.length)
    throw new HubError('DeviceDefinedMultipleTimes', 'A device is named more than once');
  const errors = entries.flatMap((entry) => updateOne(entry, options));
  // Those that could be done are done; the answer names the others.
  return { status: errors.length === 0 ? 200 : 400, body: { isSuccessful: errors.length === 0, errors, warnings: [] } };
}

function updateOne(entry: Entry, options: BulkOptions): readonly Failure[] {
  try {
    act(entry, options);
    return [];
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    return [{ deviceId: entry.id, errorCode: error.errorName, errorStatus: error.message }];
  }
}

function act(entry: Entry, { sources, twins, clock }: BulkOptions): void {
  const { registry } = sources;
  const { id, eTag, twinETag, importMode, tags, properties, ...rest } = entry;
  const given = { tags, properties, now: timeOf(clock.nowMs()) };
  const body: DeviceBody = { ...rest, deviceId: id };
  const exists = registry.devices.has(id);
  switch (importMode.toLowerCase()) {
    case 'create':
      registry.createDevice(body, readTwin(given));
      return;
    case 'createorupdate':
    case 'createorupdateifmatchetag':
      if (exists) registry.updateDevice(body, importMode.toLowerCase().endsWith('tag') ? (eTag ?? '*') : '*');
      else registry.createDevice(body, readTwin(given));
      return;
    case 'update':
      registry.updateDevice(body, '*');
      return;
    case 'updateifmatchetag':
      registry.updateDevice(body, eTag ?? '*');
      return;
    case 'delete':
      registry.removeDevice(id, '*');
      return;
    case 'deleteifmatchetag':
      checkEtag(eTag ?? '*', registry.device(id).identity.etag);
      registry.removeDevice(id, '*');
      return;
    case 'updatetwin':
    case 'updatetwinifmatchetag': {
      const ifMatch = importMode.toLowerCase().endsWith('tag') ? (twinETag ?? undefined) : undefined;
      twins.patch({ deviceId: id }, { tags: objectOf(tags), desired: objectOf(properties?.desired) }, ifMatch);
      return;
    }
    default:
      throw new HubError('ArgumentInvalid', `The import mode "${importMode.slice(0, 40)}" is not known`);
  }
}

function readTwin(given: Pick<Entry, 'tags' | 'properties'> & { readonly now: string }): typeof newTwin {
  const tags = objectOf(given.tags) ?? {};
  const desired = objectOf(given.properties?.desired);
  checkPatch('Tags', tags);
  checkSize('Tags', tags);
  if (desired === undefined) return { ...newTwin, tags };
  checkPatch('Properties.Desired', desired);
  checkSize('Properties.Desired', desired);
  const section = replaceSection({ ...newTwin.desired, version: 0 }, desired, {
    time: given.now,
    withVersion: true,
  });
  return { ...newTwin, tags, desired: section };
}

function objectOf(value: unknown): Parameters<typeof checkPatch>[1] | undefined {
  return isObject(value) ? value : undefined;
}
