import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { coresAvailable } from '../../../../agent/scoring/pool/cpu-limit.ts';

/** Reads from a made tree of cgroup files. */
function treeOf(files: Readonly<Record<string, string>>): (path: string) => string | undefined {
  return (path) => files[path];
}

const v1 = (quota: string, period: string): Record<string, string> => ({
  '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': quota,
  '/sys/fs/cgroup/cpu/cpu.cfs_period_us': period,
});

const machine = availableParallelism();

test('coresAvailable() gives the whole cores of a quota, and at least one', () => {
  expect(coresAvailable(treeOf({ '/sys/fs/cgroup/cpu.max': '100000 100000\n' }))).toBe(1);
  expect(coresAvailable(treeOf({ '/sys/fs/cgroup/cpu.max': '50000 100000\n' }))).toBe(1);
  expect(coresAvailable(treeOf({ '/sys/fs/cgroup/cpu.max': '250000 100000\n' }))).toBe(Math.min(machine, 2));
  expect(coresAvailable(treeOf(v1('150000\n', '100000\n')))).toBe(1);
  expect(coresAvailable(treeOf(v1('400000\n', '200000\n')))).toBe(Math.min(machine, 2));
});

test('coresAvailable() gives the cores of the machine where there is no quota, or more than it has', () => {
  expect(coresAvailable(treeOf({}))).toBe(machine);
  expect(coresAvailable(treeOf({ '/sys/fs/cgroup/cpu.max': 'max 100000\n' }))).toBe(machine);
  expect(coresAvailable(treeOf(v1('-1\n', '100000\n')))).toBe(machine);
  expect(coresAvailable(treeOf({ '/sys/fs/cgroup/cpu.max': '99900000 100000\n' }))).toBe(machine);
});
