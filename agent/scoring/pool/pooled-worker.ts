import { FerryError } from '../../../shared/errors.ts';
import { WorkerHandle } from './worker-handle.ts';
import type { PooledCall } from './worker-pool.ts';
import type { WorkerAnswer, WorkerMessage, WorkerOrder, WorkerReady } from './worker-protocol.ts';

/** What happens to a worker of a pool. */
export interface PooledWorkerEvents {
  readonly onReady: (ready: WorkerReady) => void;
  readonly onAnswer: (call: PooledCall, answer: WorkerAnswer, body: Uint8Array) => void;
  readonly onFailure: (call: PooledCall, error: FerryError) => void;
  /** The calls that it had are still in {@link PooledWorker.calls}. */
  readonly onExit: (reason: string) => void;
}

/** Requests at a worker whose model gains nothing by sharing runs: one that runs, and one that is there when it ends. */
const callsMax = 2;

/** Requests at a worker whose model gains: what waits there shares the next run. */
const sharingCallsMax = 64;

/** A worker with the requests that it has, oldest first. */
export class PooledWorker {
  readonly #handle: WorkerHandle;
  readonly #events: PooledWorkerEvents;
  #calls: PooledCall[] = [];
  #callsMax = callsMax;
  #ready = false;
  #retired = false;
  #killed = false;
  #exited = false;
  /** Whether it has grown beyond its memory, and a successor is on its way. */
  isGrown = false;

  constructor(entry: URL, order: WorkerOrder, events: PooledWorkerEvents) {
    this.#events = events;
    this.#handle = new WorkerHandle(entry, order, {
      onMessage: (message, body) => this.#onMessage(message, body),
      onExit: (reason) => {
        if (this.#exited) return;
        this.#exited = true;
        events.onExit(reason);
      },
    });
  }

  get calls(): readonly PooledCall[] {
    return this.#calls;
  }

  get load(): number {
    return this.#calls.length;
  }

  get hasRoom(): boolean {
    return this.#ready && !this.#retired && !this.#killed && this.#calls.length < this.#callsMax;
  }

  get isReady(): boolean {
    return this.#ready;
  }

  get isRetired(): boolean {
    return this.#retired;
  }

  get wasKilled(): boolean {
    return this.#killed;
  }

  get processId(): number | undefined {
    return this.#handle.processId;
  }

  get residentBytes(): number {
    return this.#handle.residentBytes;
  }

  send(pooled: PooledCall): void {
    const { call, id, sentMs } = pooled;
    const { protocol, jsonBytes, requestId, idIsOwn, body, wanted, http } = call;
    this.#calls.push(pooled);
    const timeLeftMs = wanted.deadlineAtMs - sentMs;
    const { timeoutMs } = wanted;
    this.#handle.send({ id, protocol, jsonBytes, requestId, idIsOwn, timeLeftMs, timeoutMs, http }, body);
  }

  /** Drops a request that was answered otherwise. */
  forget(call: PooledCall): void {
    this.#calls = this.#calls.filter((own) => own !== call);
  }

  /** Takes no more requests, and ends when those that it has are answered. */
  retire(): void {
    this.#retired = true;
    if (this.#calls.length === 0) this.#handle.end();
  }

  /** Ends it now, for a request that hangs or for its memory; the requests that it still has were not begun, or may be again. */
  kill(): void {
    this.#killed = true;
    this.#handle.kill();
  }

  #onMessage(message: WorkerMessage, body: Uint8Array): void {
    if (message.kind === 'ready') {
      this.#ready = true;
      if (message.sharesRuns) this.#callsMax = sharingCallsMax;
      this.#events.onReady(message);
      return;
    }
    const call = this.#calls.find(({ id }) => id === message.id);
    if (call === undefined) return;
    this.forget(call);
    if (message.kind === 'answer') this.#events.onAnswer(call, message, body);
    else this.#events.onFailure(call, new FerryError(message.code, message.message));
    if (this.#retired && this.#calls.length === 0) this.#handle.end();
  }
}
