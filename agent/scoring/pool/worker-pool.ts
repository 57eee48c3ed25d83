import { FerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { ScoredModel } from '../../../shared/model/service-config.ts';
import { timedOut } from '../model/batcher.ts';
import type { ScoreCall } from '../protocol/score-call.ts';
import type { Scored, Scorer } from '../scorer.ts';
import { PooledWorker } from './pooled-worker.ts';
import type { WorkerAnswer, WorkerOrder } from './worker-protocol.ts';

/** The settings of a {@link WorkerPool}. */
export interface WorkerPoolOptions {
  readonly model: ScoredModel;
  readonly order: WorkerOrder;
  /** The program's main module, which workers start from. */
  readonly entry: URL;
  readonly workers: number;
  /** Requests that may wait; one more is refused. */
  readonly waitingMax: number;
  /** Memory of one worker, beyond which it is replaced. @default no limit */
  readonly workerBytesMax?: number | undefined;
  readonly log: Logger;
}

/** A request on its way through the pool. */
export interface PooledCall {
  readonly id: number;
  readonly call: ScoreCall;
  readonly sinceMs: number;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (scored: Scored) => void;
  readonly reject: (error: unknown) => void;
  sentMs: number;
  /** Workers that ended with it. */
  losses: number;
}

/** A request that two workers ended with is the likely cause. */
const lossesMax = 2;

/** A worker that lives shorter than this counts as failing: the next one waits, longer each time. */
const steadyMs = 10_000;
const restartDelayMs = { least: 100, most: 10_000 };

/** How often the memory of the workers is looked at. */
const memoryCheckMs = 500;

/** A worker that grows to so many times its limit while its successor loads is killed. */
const killedAbove = 2;

/** How long the first worker may take to load its model. */
const startTimeoutMs = 300_000;

/**
 * Scores in worker processes, first come first served.
 *
 * Invariants:
 * - a worker that crashes fails the request it was at, and no other: those that it had not begun go to another worker;
 * - a worker whose oldest request is over its deadline hangs, and is killed;
 * - a worker that grows beyond its memory goes on until its successor is ready;
 * - every request gets exactly one answer.
 */
export class WorkerPool implements Scorer {
  #model: ScoredModel;
  #raw = false;
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<PooledWorker>();
  readonly #memoryTimer: NodeJS.Timeout;
  readonly #restartTimers = new Set<NodeJS.Timeout>();
  #queue: PooledCall[] = [];
  #nextId = 1;
  #failures = 0;
  #grownAtMs = Number.NEGATIVE_INFINITY;
  #restarts = 0;
  #closing = false;
  readonly #started = Promise.withResolvers<void>();

  private constructor(options: WorkerPoolOptions) {
    this.#model = options.model;
    this.#options = options;
    this.#memoryTimer = setInterval(() => this.#checkMemory(), memoryCheckMs).unref();
  }

  /**
   * Starts the workers, and resolves when the first can score.
   * @throws {FerryError} MODEL_INVALID when it cannot
   */
  static async start(options: WorkerPoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    const { name, version } = options.model;
    const late = new FerryError(
      'MODEL_INVALID',
      `Cannot load the model ${name}:${version}: not done after ${startTimeoutMs} ms`,
    );
    const timer = setTimeout(() => pool.#started.reject(late), startTimeoutMs);
    for (let worker = 0; worker < options.workers; worker += 1) pool.#startWorker();
    try {
      await pool.#started.promise;
      return pool;
    } catch (error) {
      pool.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The model; for a script with the signature that the script declares. */
  get model(): ScoredModel {
    return this.#model;
  }

  /** Whether it is a script that takes requests as they are. */
  get raw(): boolean {
    return this.#raw;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Workers that were replaced since the start. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Process ids of the workers. */
  get processIds(): number[] {
    return [...this.#workers].flatMap(({ processId }) => processId ?? []);
  }

  score(call: ScoreCall): Promise<Scored> {
    const { waitingMax } = this.#options;
    if (this.#queue.length >= waitingMax) {
      return Promise.reject(
        new FerryError('OVERLOADED', `Cannot score now: ${waitingMax} requests wait, the most that may`),
      );
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const sinceMs = performance.now();
      const timer = setTimeout(() => this.#expire(id), Math.max(0, call.wanted.deadlineAtMs - sinceMs));
      this.#queue.push({ id, call, sinceMs, timer, resolve, reject, sentMs: 0, losses: 0 });
      this.#dispatch();
    });
  }

  /** Ends the workers, each when it has answered what it has. */
  close(): void {
    this.#closing = true;
    clearInterval(this.#memoryTimer);
    for (const timer of this.#restartTimers) clearTimeout(timer);
    for (const worker of this.#workers) worker.retire();
    for (const { timer, reject } of this.#queue.splice(0)) {
      clearTimeout(timer);
      reject(new FerryError('OVERLOADED', 'Cannot score: the server stops'));
    }
  }

  /** Gives what waits to the workers that have room, the least busy first. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      const idlest = [...this.#workers]
        .filter(({ hasRoom }) => hasRoom)
        .toSorted((left, right) => left.load - right.load)[0];
      if (idlest === undefined) return;
      const next = this.#queue.shift();
      if (next === undefined) return;
      if (next.call.wanted.abandoned)
        this.#settle(next, () => next.reject(new FerryError('INTERRUPTED', 'Cannot answer: the client has gone')));
      else {
        next.sentMs = performance.now();
        idlest.send(next);
      }
    }
  }

  #startWorker(): void {
    const startMs = performance.now();
    const { entry, order } = this.#options;
    const worker: PooledWorker = new PooledWorker(entry, order, {
      onReady: ({ script }) => {
        if (script !== undefined) {
          this.#model = { ...this.#model, signature: script.signature };
          this.#raw = script.raw;
        }
        this.#started.resolve();
        this.#retireGrown();
        this.#dispatch();
      },
      onAnswer: (call, answer, body) => {
        this.#settle(call, () => call.resolve(toScored(call, answer, body)));
        this.#dispatch();
      },
      onFailure: (call, error) => {
        this.#settle(call, () => call.reject(error));
        this.#dispatch();
      },
      onExit: (reason) => this.#onExit(worker, { reason, livedMs: performance.now() - startMs }),
    });
    this.#workers.add(worker);
  }

  #onExit(worker: PooledWorker, { reason, livedMs }: { reason: string; livedMs: number }): void {
    this.#workers.delete(worker);
    const { name, version } = this.model;
    if (!worker.isReady)
      this.#started.reject(
        new FerryError('MODEL_INVALID', `Cannot load the model ${name}:${version}: its worker ended (${reason})`),
      );
    this.#recover(worker, reason);
    if (this.#closing || worker.isRetired) return;
    this.#restarts += 1;
    this.#options.log.warn({ model: name, version, reason }, 'a worker ended; another takes its place');
    this.#failures = livedMs < steadyMs ? this.#failures + 1 : 0;
    const delayMs = this.#failures < 2 ? 0 : Math.min(restartDelayMs.most, restartDelayMs.least * 2 ** this.#failures);
    const timer = setTimeout(() => {
      this.#restartTimers.delete(timer);
      this.#startWorker();
    }, delayMs);
    this.#restartTimers.add(timer);
  }

  /** Fails the request that a lost worker was at, and sends the others to the front of the queue. */
  #recover(worker: PooledWorker, reason: string): void {
    const again: PooledCall[] = [];
    for (const [position, call] of worker.calls.entries()) {
      // A worker that was killed for a request which hung has not begun any other.
      const begun = position === 0 && !worker.wasKilled;
      call.losses += begun ? lossesMax : 1;
      if (call.losses < lossesMax) again.push(call);
      else this.#settle(call, () => call.reject(lost(reason)));
    }
    this.#queue = [...again, ...this.#queue];
    this.#dispatch();
  }

  #expire(id: number): void {
    const waiting = this.#queue.find((call) => call.id === id);
    if (waiting !== undefined) {
      this.#queue = this.#queue.filter((call) => call !== waiting);
      this.#settle(waiting, () => waiting.reject(timedOut(waiting.call.wanted.timeoutMs)));
      return;
    }
    for (const worker of this.#workers) {
      const call = worker.calls.find((own) => own.id === id);
      if (call === undefined) continue;
      this.#settle(call, () => call.reject(timedOut(call.call.wanted.timeoutMs)));
      // The oldest is what it works on: it hangs, and only its end frees the core.
      if (worker.calls[0] === call) {
        worker.forget(call);
        worker.kill();
      } else worker.forget(call);
    }
  }

  #settle(call: PooledCall, answer: () => void): void {
    clearTimeout(call.timer);
    answer();
  }

  /** Starts a successor for each worker that has grown too large, and kills what grows on. */
  #checkMemory(): void {
    const { workerBytesMax, log } = this.#options;
    if (workerBytesMax === undefined) return;
    const nowMs = performance.now();
    for (const worker of this.#workers) {
      const { residentBytes } = worker;
      if (residentBytes > killedAbove * workerBytesMax && worker.isGrown) worker.kill();
      else if (residentBytes > workerBytesMax && !worker.isGrown && worker.isReady) {
        // A limit below what the model needs anyway must not keep the cores busy with loading it.
        if (nowMs - this.#grownAtMs < steadyMs) return;
        this.#grownAtMs = nowMs;
        log.warn(
          { model: this.model.name, residentBytes, workerBytesMax },
          'a worker has grown too large; another takes its place',
        );
        worker.isGrown = true;
        this.#restarts += 1;
        this.#startWorker();
      }
    }
  }

  #retireGrown(): void {
    for (const worker of this.#workers) if (worker.isGrown) worker.retire();
  }
}

function lost(reason: string): FerryError {
  return new FerryError('SCORING_FAILED', `Cannot score: the worker ended (${reason}) while it scored this request`);
}

function toScored(call: PooledCall, answer: WorkerAnswer, body: Uint8Array): Scored {
  const { contentType, jsonBytes, times, batchRequests, status, headers, correlationId } = answer;
  const queueMs = call.sentMs - call.sinceMs + times.queueMs;
  return {
    answer: {
      contentType,
      body,
      ...(jsonBytes === undefined ? {} : { jsonBytes }),
      ...(status === undefined ? {} : { status }),
      ...(headers === undefined ? {} : { headers }),
    },
    times: { ...times, queueMs },
    batchRequests,
    correlationId,
  };
}
