import { setTimeout as sleep } from 'node:timers/promises';
import { type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads';
import type { FileSettings } from '../../shared/collect/file-settings.ts';
import { messageOf } from '../../shared/errors.ts';
import { CollectBuffer, type PackedBlock, type Quota } from './buffer.ts';
import { isDamage, openBuffer, setAside } from './buffer-file.ts';
import type { CommitChannel, CommitReceipt, CommitRequest } from './collector.ts';

/** The role that a thread started by {@link startCommitThread} finds in its `workerData`. */
export const commitThreadRole = 'commit';

/** The settings of {@link startCommitThread}. */
export interface CommitThreadOptions {
  /** The program's main module, which calls {@link runCommitThread} where it finds itself in this role. */
  readonly entry: URL;
  readonly databasePath: string;
  readonly quota: Quota;
  /** @default CSV, a folder a day */
  readonly files?: FileSettings;
  /** Called with what keeps rows from the disk, as text; they wait, and it is tried again. */
  readonly onFailure: (message: string) => void;
}

/** A thread that commits, and how to end it. */
export interface CommitThread extends CommitChannel {
  stop(): Promise<void>;
}

/** How long the thread waits until it tries a failed commit again. */
const retryAfterMs = 1000;

/** Starts the thread that writes rows to the buffer: a commit waits for the disk, which the request path never may. */
export function startCommitThread(options: CommitThreadOptions): CommitThread {
  const { entry, databasePath, quota, files, onFailure } = options;
  const worker = new Worker(entry, { workerData: { role: commitThreadRole, databasePath, quota, files }, argv: [] });
  const listeners: ((receipt: CommitReceipt) => void)[] = [];
  worker.on('message', (answer: CommitReceipt | string) => {
    if (typeof answer === 'string') onFailure(answer);
    else for (const listener of listeners) listener(answer);
  });
  worker.on('error', (error) => onFailure(messageOf(error)));
  return {
    post: (request) =>
      worker.postMessage(
        request,
        request.blocks.map(({ packed }) => packed.buffer as ArrayBuffer),
      ),
    onReceipt: (listener) => void listeners.push(listener),
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** What the thread does: all requests that wait become one transaction, synced to the disk, and then get their receipts. */
export function runCommitThread(): void {
  if (parentPort === null) throw new Error('The commit thread was started as a process');
  const port = parentPort;
  const waiting: CommitRequest[] = [];
  let committing = false;
  port.on('message', (request: CommitRequest) => {
    waiting.push(request);
    if (committing) return;
    committing = true;
    setImmediate(() => {
      void commitAll(waiting, port).finally(() => {
        committing = false;
      });
    });
  });
}

async function commitAll(waiting: CommitRequest[], port: MessagePort): Promise<void> {
  while (waiting.length > 0) {
    const requests = waiting.slice();
    if (tryCommit(requests, port)) waiting.splice(0, requests.length);
    else await sleep(retryAfterMs);
  }
}

/** The failure that was told last: while it lasts, it is told once. */
let toldFailure: string | undefined;

function tellOnce(failure: string, port: MessagePort): void {
  if (failure !== toldFailure) port.postMessage(failure);
  toldFailure = failure;
}

/** Sets a damaged buffer aside: what it holds may be saved by hand, and rows go into a new one. */
function startAnew(databasePath: string, port: MessagePort): void {
  buffer?.close();
  buffer = undefined;
  port.postMessage(`the damaged buffer is now "${setAside(databasePath, Date.now())}"`);
}

let buffer: CollectBuffer | undefined;

function tryCommit(requests: readonly CommitRequest[], port: MessagePort): boolean {
  const { databasePath, quota, files } = workerData as { databasePath: string; quota: Quota; files?: FileSettings };
  try {
    buffer ??= new CollectBuffer(openBuffer(databasePath), { quota, ...(files && { files }) });
    buffer.append(
      requests.flatMap(({ blocks }) => blocks),
      requests.flatMap(({ drops }) => drops),
    );
  } catch (error) {
    tellOnce(messageOf(error), port);
    if (isDamage(error)) startAnew(databasePath, port);
    return false;
  }
  toldFailure = undefined;
  for (const { blocks } of requests) port.postMessage(receiptFor(blocks));
  return true;
}

function receiptFor(blocks: readonly PackedBlock[]): CommitReceipt {
  return {
    rows: blocks.reduce((sum, { rows }) => sum + rows, 0),
    bytes: blocks.reduce((sum, { packed }) => sum + packed.byteLength, 0),
  };
}
