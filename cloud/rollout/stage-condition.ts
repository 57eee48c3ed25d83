import { bucketTag, buckets, deviceBucket } from './device-bucket.ts';
import type { RolloutRequest, Stage } from './rollout-request.ts';

/** What is looked at to tell which stage a device is in. */
export interface StagedDevice {
  readonly deviceId: string;
  readonly tags: Readonly<Record<string, unknown>>;
}

/**
 * Writes the target condition that holds for the devices of a stage and of all stages before it.
 * @param last index of the stage
 */
export function conditionUpTo({ scope, stages }: Pick<RolloutRequest, 'scope' | 'stages'>, last: number): string {
  const selections = stages.slice(0, last + 1).map(({ select }) => conditionOf(select));
  // Everything within the scope: the others say nothing more.
  if (selections.includes('*')) return scope;
  const any = selections.map((condition) => `(${condition})`).join(' OR ');
  return scope.trim() === '*' ? any : `(${scope}) AND (${any})`;
}

/**
 * Finds the first stage that a device of the scope is in.
 * @returns its index, or undefined when none selects it
 */
export function stageOf(stages: readonly Stage[], device: StagedDevice): number | undefined {
  const found = stages.findIndex(({ select }) => selects(select, device));
  return found < 0 ? undefined : found;
}

/** Whether a rollout needs the bucket of each device as a tag. */
export function needsBuckets(stages: readonly Stage[]): boolean {
  return stages.some(({ select }) => 'percent' in select && select.percent < 100);
}

function conditionOf(select: Stage['select']): string {
  if ('percent' in select) return select.percent >= 100 ? '*' : `tags.${bucketTag} < ${bucketsOf(select.percent)}`;
  if ('devices' in select) return `deviceId IN [${select.devices.map(quoted).join(', ')}]`;
  return Object.entries(select.tags)
    .map(([key, value]) => `tags.${key} = ${quoted(value)}`)
    .join(' AND ');
}

function selects(select: Stage['select'], { deviceId, tags }: StagedDevice): boolean {
  if ('percent' in select) return deviceBucket(deviceId) < bucketsOf(select.percent);
  if ('devices' in select) return select.devices.includes(deviceId);
  return Object.entries(select.tags).every(([key, value]) => tagAt(tags, key) === value);
}

function tagAt(tags: Readonly<Record<string, unknown>>, path: string): unknown {
  let at: unknown = tags;
  for (const name of path.split('.')) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[name] : undefined;
  }
  return at;
}

function bucketsOf(percent: number): number {
  return Math.round((percent * buckets) / 100);
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}
