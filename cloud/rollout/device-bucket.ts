import { createHash } from 'node:crypto';

/** Buckets that devices are spread over: a percentage has two decimals. */
export const buckets = 10_000;
/** Tag of a device's twin that holds its bucket, since a hub's conditions cannot hash. */
export const bucketTag = 'ferryBucket';

/** Gives the bucket of a device, from 0: of its id alone, so that everybody finds the same, in every rollout. */
export function deviceBucket(deviceId: string): number {
  return createHash('sha256').update(deviceId).digest().readUInt32BE(0) % buckets;
}
