import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { FileSettings } from '../../shared/collect/file-settings.ts';
import { messageOf } from '../../shared/errors.ts';
import { CollectBuffer, type PackedBlock } from './buffer.ts';
import { isDamage, openBuffer } from './buffer-file.ts';
import type { DrainSettings } from './collect-settings.ts';
import type { CommitRequest } from './collector.ts';
import type { Quota } from './room.ts';
import { setAside } from './set-aside.ts';

/** The role that a thread started by `startCommitThread()` finds in its `workerData`. */
export const commitThreadRole = 'commit';

/** What the thread is started with. */
export interface CommitThreadData {
  readonly role: typeof commitThreadRole;
  /** Random id of the one who hands requests over. */
  readonly writer: string;
  readonly databasePath: string;
  readonly quota: Quota;
  readonly files?: FileSettings;
  readonly drain?: DrainSettings;
}

/** What the thread is told. */
export type ToCommitThread =
  | { readonly kind: 'commit'; readonly number: number; readonly request: CommitRequest }
  /** Wants to know which of the requests up to this number arrived by an earlier thread. */
  | { readonly kind: 'ask'; readonly upTo: number };

/** What the thread tells. */
export type FromCommitThread =
  /** The rows of a request are on the disk. */
  | { readonly kind: 'committed'; readonly number: number }
  | { readonly kind: 'arrived'; readonly lastNumber: number; readonly upTo: number }
  /** What keeps rows from the disk. */
  | { readonly kind: 'failure'; readonly text: string };

/** How long the thread waits until it tries a failed commit again. */
const retryAfterMs = 1000;

/** What the thread does: all requests that wait become one transaction, synced to the disk, and then get their receipts. */
export function runCommitThread(): void {
  if (parentPort === null) throw new Error('The commit thread was started as a process');
  const port = parentPort;
  const waiting: ToCommitThread[] = [];
  const writer = new BufferWriter(workerData as CommitThreadData, port);
  let committing = false;
  port.on('message', (message: ToCommitThread) => {
    waiting.push(message);
    if (committing) return;
    committing = true;
    setImmediate(() => {
      void commitAll(waiting, writer).finally(() => {
        committing = false;
      });
    });
  });
}

async function commitAll(waiting: ToCommitThread[], writer: BufferWriter): Promise<void> {
  while (waiting.length > 0) {
    const messages = waiting.slice();
    if (writer.tryAll(messages)) waiting.splice(0, messages.length);
    else await sleep(retryAfterMs);
  }
}

/** The buffer as the thread sees it: opened when it is needed, and anew when it is another file. */
class BufferWriter {
  readonly #data: CommitThreadData;
  readonly #port: MessagePort;
  #open: { readonly buffer: CollectBuffer; readonly inode: number } | undefined;
  /** The failure that was told last: while it lasts, it is told once. */
  #told: string | undefined;

  constructor(data: CommitThreadData, port: MessagePort) {
    this.#data = data;
    this.#port = port;
  }

  /** @returns false when it is to be tried again later */
  tryAll(messages: readonly ToCommitThread[]): boolean {
    const { writer, databasePath } = this.#data;
    const commits = messages.filter((message) => message.kind === 'commit');
    try {
      const asked = messages.find((message) => message.kind === 'ask');
      // Before anything of this thread is written.
      const lastNumber = asked === undefined ? 0 : this.#buffer().lastArrived(writer);
      if (commits.length > 0) this.#append(commits);
      if (asked !== undefined) this.#post({ kind: 'arrived', lastNumber, upTo: asked.upTo });
    } catch (error) {
      this.#tellOnce(messageOf(error));
      if (isDamage(error)) {
        this.#close();
        this.#post({ kind: 'failure', text: `the damaged buffer is now "${setAside(databasePath, Date.now())}"` });
      }
      return false;
    }
    this.#told = undefined;
    for (const { number, request } of commits) {
      this.#post({ kind: 'committed', number });
      for (const { packed } of request.blocks) free(packed);
    }
    return true;
  }

  #append(commits: readonly Extract<ToCommitThread, { kind: 'commit' }>[]): void {
    const requests = commits.map(({ request }) => request);
    const number = commits.at(-1)?.number ?? 0;
    const write = (): void =>
      this.#buffer().append(
        requests.flatMap(({ blocks }) => blocks),
        requests.flatMap(({ drops }) => drops),
        [{ writer: this.#data.writer, number }],
      );
    write();
    if (this.#isInPlace()) return;
    // The uploader has set a damaged buffer aside meanwhile: what was written to it is lost.
    this.#close();
    write();
  }

  #buffer(): CollectBuffer {
    const { databasePath, quota, files, drain } = this.#data;
    if (this.#open === undefined) {
      const database = openBuffer(databasePath);
      const options = {
        quota,
        ...(files === undefined ? {} : { files }),
        ...(drain === undefined ? {} : { drain }),
      };
      this.#open = { buffer: new CollectBuffer(database, options), inode: statSync(databasePath).ino };
    }
    return this.#open.buffer;
  }

  #isInPlace(): boolean {
    return statSync(this.#data.databasePath, { throwIfNoEntry: false })?.ino === this.#open?.inode;
  }

  #close(): void {
    this.#open?.buffer.close();
    this.#open = undefined;
  }

  #tellOnce(failure: string): void {
    if (failure !== this.#told) this.#post({ kind: 'failure', text: failure });
    this.#told = failure;
  }

  #post(message: FromCommitThread): void {
    this.#port.postMessage(message, []);
  }
}

/** Gives memory back at once: left to the garbage collector, blocks would have it go over the whole heap twice a second. */
function free({ buffer }: PackedBlock['packed']): void {
  (buffer as ArrayBuffer).transfer(0);
}
