import { randomUUID } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { FileSettings } from '../../shared/collect/file-settings.ts';
import { messageOf } from '../../shared/errors.ts';
import type { DroppedRows } from './buffer.ts';
import type { DrainSettings } from './collect-settings.ts';
import { blockBytes, type CommitChannel, type CommitReceipt, type CommitRequest } from './collector.ts';
import {
  commitThreadRole,
  type CommitThreadData,
  type FromCommitThread,
  type ToCommitThread,
} from './run-commit-thread.ts';
import type { Quota } from './room.ts';

/** The settings of {@link startCommitThread}. */
export interface CommitThreadOptions {
  /** The program's main module, which calls `runCommitThread()` where it finds itself in this role. */
  readonly entry: URL;
  readonly databasePath: string;
  readonly quota: Quota;
  /** @default CSV, a folder a day */
  readonly files?: FileSettings;
  /** @default oldest first, as fast as it goes */
  readonly drain?: DrainSettings;
  /** Called with what keeps rows from the disk, as text; they wait, and it is tried again. */
  readonly onFailure: (message: string) => void;
}

/** A thread that commits, and how to end it. */
export interface CommitThread extends CommitChannel {
  stop(): Promise<void>;
}

/** How long it takes until a thread that ended is started again. */
const restartAfterMs = 1000;

/** Starts the thread that writes rows to the buffer: a commit waits for the disk, which the request path never may. */
export function startCommitThread(options: CommitThreadOptions): CommitThread {
  return new RestartedThread(options);
}

/** What is known of a request whose blocks have moved to the thread. */
interface InFlight {
  readonly receipt: CommitReceipt;
  readonly losses: readonly DroppedRows[];
}

/**
 * A thread that is started again when it ends. What it had been given is asked for in the buffer then: each request arrived whole or
 * not at all, and what did not is dropped by name.
 */
class RestartedThread implements CommitThread {
  readonly #options: CommitThreadOptions;
  readonly #writer = randomUUID();
  readonly #listeners: ((receipt: CommitReceipt) => void)[] = [];
  readonly #inFlight = new Map<number, InFlight>();
  /** Requests for the next thread, while there is none. */
  #unsent: [number, CommitRequest][] = [];
  #worker: Worker | undefined;
  #lastNumber = 0;
  #stopping = false;

  constructor(options: CommitThreadOptions) {
    this.#options = options;
    this.#worker = this.#start();
  }

  post(request: CommitRequest): void {
    this.#lastNumber += 1;
    this.#inFlight.set(this.#lastNumber, inFlightOf(request));
    if (this.#worker === undefined) this.#unsent.push([this.#lastNumber, request]);
    else send(this.#worker, this.#lastNumber, request);
  }

  onReceipt(listener: (receipt: CommitReceipt) => void): void {
    this.#listeners.push(listener);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const { entry, onFailure, databasePath, quota, files, drain } = this.#options;
    const workerData: CommitThreadData = {
      role: commitThreadRole,
      writer: this.#writer,
      databasePath,
      quota,
      ...(files === undefined ? {} : { files }),
      ...(drain === undefined ? {} : { drain }),
    };
    const worker = new Worker(entry, { workerData, argv: [] });
    worker.on('message', (message: FromCommitThread) => {
      if (message.kind === 'failure') onFailure(message.text);
      else if (message.kind === 'committed') this.#settle(message.number);
      else this.#settleAfterRestart(message.lastNumber, message.upTo);
    });
    worker.on('error', (error) => onFailure(messageOf(error)));
    worker.on('exit', () => {
      this.#worker = undefined;
      if (!this.#stopping) setTimeout(() => this.#restart(), restartAfterMs).unref();
    });
    return worker;
  }

  #restart(): void {
    if (this.#stopping) return;
    this.#options.onFailure('the thread that commits had ended; it is started again');
    const worker = this.#start();
    this.#worker = worker;
    const upTo = (this.#unsent[0]?.[0] ?? this.#lastNumber + 1) - 1;
    worker.postMessage({ kind: 'ask', upTo } satisfies ToCommitThread, []);
    for (const [number, request] of this.#unsent.splice(0)) send(worker, number, request);
  }

  #settle(number: number): void {
    const request = this.#inFlight.get(number);
    this.#inFlight.delete(number);
    if (request !== undefined) this.#tell(request.receipt);
  }

  /** What went to the thread that ended, and did not get further, is lost. */
  #settleAfterRestart(lastNumber: number, upTo: number): void {
    const lost: InFlight[] = [];
    for (const [number, request] of this.#inFlight) {
      if (number > upTo) break;
      if (number <= lastNumber) this.#settle(number);
      else {
        this.#inFlight.delete(number);
        lost.push(request);
      }
    }
    if (lost.length === 0) return;
    this.post({ blocks: [], drops: lost.flatMap(({ losses }) => losses) });
    for (const { receipt } of lost) this.#tell({ rows: 0, bytes: receipt.bytes, droppedRows: receipt.rows });
  }

  #tell(receipt: CommitReceipt): void {
    for (const listener of this.#listeners) listener(receipt);
  }
}

function send(worker: Worker, number: number, request: CommitRequest): void {
  const buffers = request.blocks.flatMap(({ packed, payloads = [] }) => [
    packed.buffer as ArrayBuffer,
    ...payloads.map(({ content }) => content.buffer as ArrayBuffer),
  ]);
  worker.postMessage({ kind: 'commit', number, request } satisfies ToCommitThread, buffers);
}

function inFlightOf({ blocks, drops }: CommitRequest): InFlight {
  return {
    receipt: {
      rows: blocks.reduce((sum, { rows }) => sum + rows, 0),
      bytes: blocks.reduce((sum, block) => sum + blockBytes(block), 0),
    },
    losses: [...blocks.map(({ stream, rows }) => ({ stream, rows, reason: 'collector-failed' as const })), ...drops],
  };
}
