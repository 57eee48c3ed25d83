import type { HubClient } from '../azure/hub-client.ts';
import type { BulkFailure } from '../azure/hub-resources.ts';
import { bucketTag, deviceBucket } from '../rollout/device-bucket.ts';
import type { ListedDevice } from './device-list.ts';

/** What became of a list of devices. */
export interface ImportResult {
  readonly added: number;
  /** Devices of the hub whose tags were changed. */
  readonly tagged: number;
  /** Devices of the hub that had all of it already. */
  readonly unchanged: number;
  readonly failures: readonly BulkFailure[];
}

/** The settings of {@link importDevices}. */
export interface ImportOptions {
  /** Told how many have been sent, of how many. */
  readonly onDone: (done: number, total: number) => void;
}

/**
 * Adds the devices of a list that the hub does not have, as edge devices, and sets the tags of those that it has. Doing it again
 * does nothing. What fails for one device fails for no other.
 */
export async function importDevices(
  hub: HubClient,
  devices: readonly ListedDevice[],
  { onDone }: ImportOptions,
): Promise<ImportResult> {
  const known = new Map((await hub.findEdgeDevices('*')).map(({ deviceId, tags }) => [deviceId, tags]));
  const wanted = devices.map((device) => ({ ...device, tags: withBucket(device) }));
  const missing = wanted.filter(({ deviceId }) => !known.has(deviceId));
  const changed = wanted.filter(({ deviceId, tags }) => known.has(deviceId) && !holds(known.get(deviceId) ?? {}, tags));
  const total = missing.length + changed.length;
  const failures = [
    ...(await hub.bulk(
      missing.map(({ deviceId: id, tags }) => ({
        id,
        importMode: 'create' as const,
        status: 'enabled' as const,
        capabilities: { iotEdge: true },
        tags: withoutNulls(tags),
      })),
      (done) => onDone(done, total),
    )),
    ...(await hub.bulk(
      changed.map(({ deviceId: id, tags }) => ({ id, importMode: 'updateTwin' as const, tags })),
      (done) => onDone(missing.length + done, total),
    )),
  ];
  const failed = new Set(failures.map(({ deviceId }) => deviceId));
  const done = (some: readonly ListedDevice[]) => some.filter(({ deviceId }) => !failed.has(deviceId)).length;
  return { added: done(missing), tagged: done(changed), unchanged: devices.length - total, failures };
}

function withBucket({ deviceId, tags }: ListedDevice): Record<string, unknown> {
  return { ...tags, [bucketTag]: deviceBucket(deviceId) };
}

/** Whether a twin's tags have all that is wanted, and nothing that is not. */
function holds(tags: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(wanted).every(([name, value]) => {
    const found = tags[name];
    if (value === null) return found === undefined;
    if (typeof value !== 'object') return found === value;
    const inner = typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : {};
    return holds(inner, value as Record<string, unknown>);
  });
}

/** A new twin has nothing that could be taken away. */
function withoutNulls(tags: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(tags).flatMap(([name, value]): [string, unknown][] => {
    if (value === null) return [];
    if (typeof value !== 'object') return [[name, value]];
    const inner = withoutNulls(value as Record<string, unknown>);
    return Object.keys(inner).length === 0 ? [] : [[name, inner]];
  });
  return Object.fromEntries(entries);
}
