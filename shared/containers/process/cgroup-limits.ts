import { createHash } from 'node:crypto';
import { access, mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CreateOptions } from '../../edge/create-options.ts';
import { messageOf, systemCodeOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { ContainerSpec } from '../engine.ts';

/** What a container may take of the machine; what is absent is without limit. */
interface Limits {
  /** In bytes. */
  readonly memoryBytes?: number;
  /** Of processor time, in processors: 0.5 is half of one. */
  readonly processors?: number;
  /** Processes and threads together. */
  readonly processesMax?: number;
}

/** The settings of {@link CgroupLimits}. */
interface CgroupLimitsOptions {
  readonly log: Logger;
  /** Where control groups are mounted. @default '/sys/fs/cgroup' */
  readonly mount?: string;
}

/** Which files of which controller say a limit, in the two versions of cgroups. */
type Settings = readonly { readonly controller: string; readonly file: string; readonly value: string }[];

/** For how long a share of processor time is counted, in microseconds; Docker's. */
const periodUs = 100_000;
/** The least share of processor time in a period that the kernel takes, in microseconds. */
const quotaMinUs = 1_000;
/** Controllers that limits need. */
const controllers = ['memory', 'cpu', 'pids'] as const;
/** Group over those of all containers. */
const parentName = 'modelferry';
/** How often the removal of a group is tried: its processes leave it a moment after they have ended. */
const removeTriesMax = 20;
/** How long between two tries, in milliseconds. */
const removeRetryMs = 20;

/** Reads the limits out of a container's settings, as Docker means them: 0, -1 and null are none. */
function limitsOf({ HostConfig: host = {} }: CreateOptions): Limits {
  const { Memory: memory = 0, NanoCpus: nanoCpus = 0, PidsLimit: pids } = host;
  return {
    ...(memory > 0 ? { memoryBytes: memory } : {}),
    ...(nanoCpus > 0 ? { processors: nanoCpus / 1e9 } : {}),
    ...(typeof pids === 'number' && pids > 0 ? { processesMax: pids } : {}),
  };
}

/**
 * Limits of an engine's containers through control groups, version 2 where the machine has it, else version 1. A group is there only
 * while its container runs, and only with limits. It needs root and a tree that may be written to: where that is not so, a container runs
 * without its limits, and the log says why, because a module without limits is better than none.
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html
 */
export class CgroupLimits {
  readonly #mount: string;
  /** Tells the groups of one engine from those of another. */
  readonly #prefix: string;
  readonly #log: Logger;

  /** @param engineFolder folder of the engine whose containers these are */
  constructor(engineFolder: string, { log, mount = '/sys/fs/cgroup' }: CgroupLimitsOptions) {
    this.#mount = mount;
    this.#prefix = `${createHash('sha256').update(engineFolder).digest('hex').slice(0, 12)}.`;
    this.#log = log;
  }

  /** Makes the group of a container that is to have limits, and says whether it is. None of its processes is in there yet. */
  async make({ name, settings }: Pick<ContainerSpec, 'name' | 'settings'>): Promise<boolean> {
    const limits = limitsOf(settings);
    if (Object.keys(limits).length === 0) return false;
    try {
      // What is left of a run before may be full.
      await this.#remove(name);
      await this.#makeGroups(name, limits);
      return true;
    } catch (error) {
      this.#log.warn({ container: name, limits, why: messageOf(error) }, 'running it without all of its limits');
      return false;
    }
  }

  /** Puts a process that has started nothing yet into the group of its container. */
  async enter(name: string, pid: number): Promise<void> {
    try {
      for (const folder of await this.#foldersOf(name)) await move(folder, pid);
    } catch (error) {
      this.#log.warn({ container: name, why: messageOf(error) }, 'running it without all of its limits');
    }
  }

  /** Removes the groups of containers that do not run any more. @param names of those that do */
  async keepOnly(names: ReadonlySet<string>): Promise<void> {
    const found = await Promise.all(
      ['', ...controllers].map((controller) => readdir(join(this.#mount, controller, parentName)).catch(() => [])),
    );
    const own = new Set(found.flat().filter((entry) => entry.startsWith(this.#prefix)));
    for (const name of [...own].map((entry) => entry.slice(this.#prefix.length)).filter((entry) => !names.has(entry))) {
      await this.#remove(name).catch((error: unknown) => {
        this.#log.warn({ container: name, why: messageOf(error) }, 'could not remove its control group');
      });
    }
  }

  async #makeGroups(name: string, limits: Limits): Promise<void> {
    const isV2 = await exists(join(this.#mount, 'cgroup.controllers'));
    if (isV2) await this.#enable();
    for (const { controller, file, value } of isV2 ? settingsV2(limits) : settingsV1(limits)) {
      const folder = this.#folder(name, isV2 ? undefined : controller);
      await makeGroup(dirname(folder));
      await makeGroup(folder);
      await writeFile(join(folder, file), value);
    }
  }

  async #remove(name: string): Promise<void> {
    for (const folder of await this.#foldersOf(name)) await removeGroup(folder);
  }

  /** Lets groups below the parent have limits: version 2 wants that said on every level. */
  async #enable(): Promise<void> {
    const wanted = controllers.map((controller) => `+${controller}`).join(' ');
    await writeFile(join(this.#mount, 'cgroup.subtree_control'), wanted);
    await makeGroup(join(this.#mount, parentName));
    await writeFile(join(this.#mount, parentName, 'cgroup.subtree_control'), wanted);
  }

  #folder(name: string, controller: string | undefined): string {
    return join(this.#mount, controller ?? '', parentName, `${this.#prefix}${name}`);
  }

  async #foldersOf(name: string): Promise<string[]> {
    const possible = [undefined, ...controllers].map((controller) => this.#folder(name, controller));
    const isThere = await Promise.all(possible.map(exists));
    return possible.filter((_, index) => isThere[index]);
  }
}

/** @see https://docs.kernel.org/admin-guide/cgroup-v1/memory.html */
function settingsV1({ memoryBytes, processors, processesMax }: Limits): Settings {
  return [
    ...(memoryBytes === undefined
      ? []
      : [{ controller: 'memory', file: 'memory.limit_in_bytes', value: `${memoryBytes}` }]),
    ...(processors === undefined
      ? []
      : [
          { controller: 'cpu', file: 'cpu.cfs_period_us', value: `${periodUs}` },
          { controller: 'cpu', file: 'cpu.cfs_quota_us', value: `${quotaUs(processors)}` },
        ]),
    ...(processesMax === undefined ? [] : [{ controller: 'pids', file: 'pids.max', value: `${processesMax}` }]),
  ];
}

function settingsV2({ memoryBytes, processors, processesMax }: Limits): Settings {
  return [
    ...(memoryBytes === undefined ? [] : [{ controller: 'memory', file: 'memory.max', value: `${memoryBytes}` }]),
    ...(processors === undefined
      ? []
      : [{ controller: 'cpu', file: 'cpu.max', value: `${quotaUs(processors)} ${periodUs}` }]),
    ...(processesMax === undefined ? [] : [{ controller: 'pids', file: 'pids.max', value: `${processesMax}` }]),
  ];
}

function quotaUs(processors: number): number {
  return Math.max(Math.round(processors * periodUs), quotaMinUs);
}

/** One that has ended meanwhile needs no limits. */
async function move(folder: string, pid: number): Promise<void> {
  await writeFile(join(folder, 'cgroup.procs'), String(pid)).catch((error: unknown) => {
    if (systemCodeOf(error) !== 'ESRCH') throw error;
  });
}

/** Makes one folder: where no control groups are mounted, Node never ends making several at once. */
async function makeGroup(folder: string): Promise<void> {
  await mkdir(folder).catch((error: unknown) => {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  });
}

async function removeGroup(folder: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await rmdir(folder);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return;
      if (systemCodeOf(error) !== 'EBUSY' || tries === removeTriesMax) throw error;
    }
    await sleep(removeRetryMs);
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
