import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../../digest.ts';
import { writeDurably } from '../../durable-file.ts';
import { FerryError, messageOf, systemCodeOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { LayoutStore } from '../../oci/layout-store.ts';
import type {
  ContainerEngine,
  ContainerSpec,
  ContainerState,
  LogSelection,
  StartOptions,
  StopOptions,
} from '../engine.ts';
import { containerAccount, giveFolder, isOpenToAll, isRoot, parseAccount } from './account.ts';
import { CgroupLimits } from './cgroup-limits.ts';
import { endProcess } from './end-process.ts';
import { launchOf } from './launch.ts';
import { readLog, rotateLog } from './log-file.ts';
import { type ProcessIdentity, identityOf, isAlive, processesWith } from './process-identity.ts';
import { type ProcessRecord, parseRecord } from './process-record.ts';
import { spawnDetached } from './spawn.ts';
import { RootStore } from './root-store.ts';

/** The settings of {@link ProcessEngine.open}. */
export interface ProcessEngineOptions {
  /** OCI image layout that images are taken from. */
  readonly layout: LayoutStore;
  /** Folder of the engine's own: what it runs, and unpacked images. Two engines never share one. */
  readonly folder: string;
  /**
   * Gives folders of other engines of the same user, whose unpacked layers may be taken over, as may this one's. Without it every image has files of
   * its own.
   */
  readonly neighbours?: (() => Promise<readonly string[]>) | undefined;
  readonly log: Logger;
}

/** Variable by which a process is known as this engine's even if nothing was written down about it. */
const markVariable = 'MODELFERRY_PROCESS';
/** How long after a process has ended its exit code comes at the latest, in milliseconds. */
const exitCodeWaitMs = 20;

/**
 * Runs containers as processes of this machine, out of folders that their images are unpacked to.
 *
 * - What runs is written down before and after it is started, and every process carries a mark in its environment: after a crash of this
 *   program at any point, {@link ProcessEngine.open} knows each process again or ends it.
 * - A process is known by id, start time and boot, so an id that was given out again is never taken for it.
 * - Output goes straight to a file, so that the process goes on when this program ends.
 * - Limits of memory, processor time and processes are control groups, where this program may make some; else it runs without, and the log says so.
 * - What a container has started ends with it, also what has left its process group.
 * - There is no wall around it but its own user, when this program is root.
 */
export class ProcessEngine implements ContainerEngine {
  readonly kind = 'process';
  readonly #folder: string;
  readonly #roots: RootStore;
  readonly #log: Logger;
  readonly #limits: CgroupLimits;
  readonly #records = new Map<string, ProcessRecord>();
  /** Exit codes of processes of which it is not written down yet that they ended. */
  readonly #exitCodes = new Map<number, number>();

  private constructor(options: ProcessEngineOptions) {
    this.#folder = options.folder;
    this.#log = options.log;
    this.#limits = new CgroupLimits(options.folder, { log: options.log });
    this.#roots = new RootStore(options.layout, options.folder, options.neighbours);
  }

  /** Takes up what an engine of the same folder left: what runs goes on, what nobody wrote down is ended. */
  static async open(options: ProcessEngineOptions): Promise<ProcessEngine> {
    const engine = new ProcessEngine(options);
    await mkdir(join(options.folder, 'containers'), { recursive: true });
    await engine.#readRecords();
    await engine.#endOrphans();
    await engine.#limits.keepOnly(engine.#running());
    return engine;
  }

  prepareImage(image: Digest, signal?: AbortSignal): Promise<void> {
    return this.#roots.prepare(image, signal);
  }

  forgetImage(image: Digest): Promise<void> {
    return this.#roots.forget(image);
  }

  async list(): Promise<readonly ContainerState[]> {
    for (const record of this.#records.values()) {
      await this.#noticeEnd(record);
      await rotateLog(this.#logPath(record.spec.name));
    }
    return [...this.#records.values()].map(stateOf).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(spec: ContainerSpec): Promise<void> {
    if (this.#records.has(spec.name)) {
      throw new FerryError('ENGINE_FAILED', `Cannot create "${spec.name}": there is one of that name`);
    }
    await mkdir(this.#containerFolder(spec.name), { recursive: true });
    await this.#write({ spec, exitCode: 0 });
  }

  async start(name: string, { socket }: StartOptions = {}): Promise<void> {
    await this.#noticeEnd(this.#record(name));
    const record = this.#record(name);
    if (record.process !== undefined) return;
    const image = await this.#roots.open(record.spec.image);
    const launch = await launchOf(record.spec, image);
    if (launch.listen !== undefined && launch.listen.port !== 0) await checkPort(name, launch.listen);
    const account = await this.#accountFor(record.spec, image.root);
    if (account !== undefined) await giveFolder(record.spec.dataFolder, account);
    const isLimited = await this.#limits.make(record.spec);
    const child = await spawnDetached(name, launch, {
      logPath: this.#logPath(name),
      environment: { [markVariable]: this.#mark(name) },
      socket,
      ...(account === undefined ? {} : { account }),
      ...(isLimited ? { beforeRun: (pid: number) => this.#limits.enter(name, pid) } : {}),
    });
    const identity = await identityOf(child.pid);
    const { exitCode: _before, finishedAt: _past, ...rest } = record;
    const started = { ...rest, exitCode: 0, startedAt: new Date().toISOString() };
    await this.#write(identity === undefined ? started : { ...started, process: identity });
    const recorded = child.ended
      .then((exitCode) => {
        this.#exitCodes.set(child.pid, exitCode);
        return this.#recordEnd(name, child.pid, identity);
      })
      .catch((err: unknown) => this.#log.error({ container: name, err }, 'could not write down how it ended'))
      .finally(() => this.#exitCodes.delete(child.pid));
    // It has ended already, and its exit code is on its way.
    if (identity === undefined) await recorded;
  }

  async stop(name: string, { graceMs, signal }: StopOptions): Promise<void> {
    const record = this.#records.get(name);
    if (record?.process === undefined) return;
    await endProcess(record.process, graceMs, signal);
    await this.#noticeEnd(record);
    await this.#limits.keepOnly(this.#running());
  }

  async remove(name: string): Promise<void> {
    const record = this.#records.get(name);
    if (record === undefined) return;
    await this.#noticeEnd(record);
    if (this.#records.get(name)?.process !== undefined) {
      throw new FerryError('ENGINE_FAILED', `Cannot remove "${name}": it runs, and has to be stopped first`);
    }
    this.#records.delete(name);
    await this.#limits.keepOnly(this.#running());
    // How it ended may be on its way into a file there: that is seen, and what it has written goes too.
    await rm(this.#containerFolder(name), { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
  }

  async logs(name: string, selection: LogSelection = {}): Promise<string> {
    return readLog(this.#logPath(name), selection);
  }

  /** Leaves every process running. */
  async [Symbol.asyncDispose](): Promise<void> {}

  async #readRecords(): Promise<void> {
    for (const name of await readdir(join(this.#folder, 'containers'))) {
      const text = await readFile(this.#recordPath(name), 'utf8').catch(() => undefined);
      const record = text === undefined ? undefined : parseRecord(text);
      if (record !== undefined) this.#records.set(name, record);
      // A crash in `create` or `remove` leaves a folder without a record: there never was, or is no longer, such a container.
      else await rm(this.#containerFolder(name), { recursive: true, force: true });
    }
  }

  /** Finds processes that carry this engine's mark but are not what is written down; a crash between start and writing leaves one. */
  async #endOrphans(): Promise<void> {
    const known = new Set<number>();
    for (const record of this.#records.values()) {
      await this.#noticeEnd(record);
      const now = this.#records.get(record.spec.name)?.process;
      if (now !== undefined) known.add(now.pid);
      for (const pid of await processesWith(markVariable, this.#mark(record.spec.name))) {
        const identity = known.has(pid) ? undefined : await identityOf(pid);
        // Children of a known process carry its mark too; they share its process group and end with it.
        if (identity === undefined || now !== undefined) continue;
        this.#log.warn({ container: record.spec.name, pid }, 'ending a process that nothing was written down about');
        await endProcess(identity, 0);
      }
    }
  }

  async #noticeEnd(record: ProcessRecord): Promise<void> {
    const { process: identity } = record;
    if (identity === undefined || (await isAlive(identity))) return;
    // A child's own exit event says how it ended and comes at about the same time.
    await sleep(exitCodeWaitMs);
    await this.#recordEnd(record.spec.name, identity.pid, identity);
  }

  /** Writes down that a container has ended, and ends what it has left running: a container goes on no longer than its first process. */
  async #recordEnd(name: string, pid: number, identity: ProcessIdentity | undefined): Promise<void> {
    const record = this.#records.get(name);
    if (record === undefined || record.process?.pid !== identity?.pid) return;
    const left = await processesWith(markVariable, this.#mark(name));
    // Somebody else may have noticed too, and it may run again.
    if (this.#records.get(name) !== record) return;
    await Promise.all(left.map((child) => this.#endLeft(name, child)));
    if (this.#records.get(name) !== record) return;
    const { process: _ended, ...rest } = record;
    const exitCode = this.#exitCodes.get(pid) ?? 255;
    await this.#write({ ...rest, exitCode, finishedAt: new Date().toISOString() });
  }

  /** Ends a process that a container has left running; what holds a port or a file is gone when the container is said to have ended. */
  async #endLeft(name: string, pid: number): Promise<void> {
    const identity = await identityOf(pid);
    try {
      if (identity !== undefined) await endProcess(identity, 0);
    } catch (error) {
      this.#log.warn(
        { container: name, pid, reason: messageOf(error) },
        'a process that was left running does not end',
      );
    }
  }

  /** Whom the process runs as: a user of its own where this program may choose one and that user can reach the files. */
  async #accountFor(spec: ContainerSpec, root: string): Promise<typeof containerAccount | undefined> {
    if (!isRoot()) return undefined;
    const account = parseAccount(spec.settings.User) ?? containerAccount;
    if ((await isOpenToAll(root)) && (await isOpenToAll(spec.dataFolder))) return account;
    this.#log.warn(
      { container: spec.name, folder: this.#folder },
      'running it as root: the folder of the engine is closed to other users',
    );
    return undefined;
  }

  #running(): Set<string> {
    const running = [...this.#records.values()].filter((record) => record.process !== undefined);
    return new Set(running.map(({ spec }) => spec.name));
  }

  #record(name: string): ProcessRecord {
    const record = this.#records.get(name);
    if (record !== undefined) return record;
    throw new FerryError('ENGINE_FAILED', `Cannot start "${name}": there is no container of that name`);
  }

  /** Keeps a record in memory and on disk; memory first, so that nobody acts on what was before. */
  async #write(record: ProcessRecord): Promise<void> {
    this.#records.set(record.spec.name, record);
    await writeDurably(this.#recordPath(record.spec.name), JSON.stringify(record), { mode: 0o600 }).catch(
      (error: unknown) => {
        // Removed meanwhile: nothing is left to write down.
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      },
    );
  }

  #mark(name: string): string {
    return `${this.#folder}/${name}`;
  }

  #containerFolder(name: string): string {
    return join(this.#folder, 'containers', name);
  }

  #recordPath(name: string): string {
    return join(this.#containerFolder(name), 'record.json');
  }

  #logPath(name: string): string {
    return join(this.#containerFolder(name), 'log');
  }
}

function stateOf({ spec, process, exitCode, startedAt, finishedAt }: ProcessRecord): ContainerState {
  return {
    name: spec.name,
    labels: spec.labels,
    status: process !== undefined ? 'running' : startedAt === undefined ? 'created' : 'exited',
    exitCode,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
  };
}

/** Looks whether a port is free, because the program's own message about it would be seen by nobody. */
async function checkPort(name: string, { host, port }: { host: string; port: number }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const server = createServer();
  server.once('error', reject);
  server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  try {
    await promise;
  } catch (cause) {
    const code = systemCodeOf(cause) === 'EADDRINUSE' ? 'PORT_IN_USE' : 'ENGINE_FAILED';
    const what = code === 'PORT_IN_USE' ? 'another program listens there' : 'it cannot be listened on';
    throw new FerryError(code, `Cannot start "${name}" on ${host}:${port}: ${what}`, {
      cause,
      next: 'Choose another HostPort in the PortBindings of its createOptions.',
    });
  }
}
