import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where this machine has control groups: of the version 2, or those of a controller of version 1. */
export function controlGroups(controller: string): string {
  const mount = '/sys/fs/cgroup';
  return existsSync(join(mount, 'cgroup.controllers')) ? mount : join(mount, controller);
}

/** Whether this process may make control groups; tests of limits skip, and say so, where it may not. */
export const canLimit: boolean = ['memory', 'cpu', 'pids'].every((controller) => {
  const folder = join(controlGroups(controller), `modelferry-probe-${process.pid}`);
  try {
    mkdirSync(folder);
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
});
