import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { BodyShelf } from './body-shelf.ts';
import { FrameReader, writeFrame } from './frame.ts';
import { ownCommand } from './own-command.ts';
import { type WorkerMessage, type WorkerOrder, workerPipe, type WorkerRequest, workerRole } from './worker-protocol.ts';

/** What happens to a worker. */
export interface WorkerEvents {
  /** It said something; the body is an answer's. */
  readonly onMessage: (message: WorkerMessage, body: Uint8Array) => void;
  /** It ended, for whatever reason. */
  readonly onExit: (reason: string) => void;
}

/**
 * A worker makes room for tensors again and again. The C library would give the room back to the system each time, and page by page it
 * would have to be asked for again, which takes longer than to read the numbers of an image. @see mallopt(3)
 */
const allocatorSettings = {
  MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
  MALLOC_TRIM_THRESHOLD_: String(64 * 1024 * 1024),
};

/** Bytes of a page in `/proc/<pid>/statm`. */
const pageBytes = 4096;

/** One worker process, seen from the server. */
export class WorkerHandle {
  readonly #child: ChildProcess;
  readonly #pipe: Duplex;
  readonly #shelf = BodyShelf.open();

  /** @param entry the program's main module */
  constructor(entry: URL, order: WorkerOrder, events: WorkerEvents) {
    const { command, options } = ownCommand();
    const child = spawn(command, [...options, fileURLToPath(entry), workerRole], {
      env: { ...process.env, ...allocatorSettings },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', this.#shelf?.fileDescriptor ?? 'ignore'],
    });
    this.#child = child;
    this.#pipe = child.stdio[workerPipe] as Duplex;
    writeFrame(this.#pipe, order);
    const reader = new FrameReader(({ header, body }) => {
      const message = header as WorkerMessage;
      if (message.kind !== 'ready') this.#shelf?.release(message.id);
      events.onMessage(message, body);
    });
    this.#pipe.on('data', (piece: Buffer) => reader.push(piece));
    // What ends the pipe ends the process, and that is told below.
    this.#pipe.on('error', () => this.kill());
    const onExit = (reason: string): void => {
      this.#shelf?.close();
      events.onExit(reason);
    };
    child.once('error', (error) => onExit(error.message));
    child.once('exit', (code, signal) => onExit(signal === null ? `exit code ${code}` : signal));
  }

  /** Memory that the process occupies; 0 where the system does not tell. */
  get residentBytes(): number {
    try {
      const [, pages] = readFileSync(`/proc/${this.#child.pid}/statm`, 'ascii').split(' ');
      return Number(pages) * pageBytes;
    } catch {
      return 0;
    }
  }

  send(request: WorkerRequest, body: Uint8Array): void {
    const place = this.#shelf?.put(request.id, body);
    if (place === undefined) writeFrame(this.#pipe, request, body);
    else writeFrame(this.#pipe, { ...request, shelved: { place, bytes: body.byteLength } });
  }

  get processId(): number | undefined {
    return this.#child.pid;
  }

  /** Ends it; what it has not answered is lost. */
  end(): void {
    this.#pipe.end();
  }

  /** Ends it now. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
