import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Files that say how much processor time a container has in a period: cgroup v2, then v1. */
const quotaFiles = {
  v2: '/sys/fs/cgroup/cpu.max',
  v1Quota: '/sys/fs/cgroup/cpu/cpu.cfs_quota_us',
  v1Period: '/sys/fs/cgroup/cpu/cpu.cfs_period_us',
};

/**
 * Counts the cores that this process really has: the machine's, its affinity and the container's quota together. At least 1.
 * @param read gives a file's text, or undefined where there is none
 */
export function coresAvailable(read: (path: string) => string | undefined = readText): number {
  const [quota, period] = (read(quotaFiles.v2) ?? `${read(quotaFiles.v1Quota)} ${read(quotaFiles.v1Period)}`)
    .trim()
    .split(' ')
    .map(Number);
  const cores = availableParallelism();
  // "max" in v2 and -1 in v1 stand for no limit.
  if (quota === undefined || period === undefined || !(quota > 0) || !(period > 0)) return cores;
  return Math.max(1, Math.min(cores, Math.floor(quota / period)));
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
