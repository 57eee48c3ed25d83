import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
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

/** Bytes of a page in `/proc/<pid>/statm`. */
const pageBytes = 4096;

/** One worker process, seen from the server. */
export class WorkerHandle {
  readonly #child: ChildProcess;
  readonly #pipe: Duplex;

  /** @param entry the program's main module */
  constructor(entry: URL, order: WorkerOrder, events: WorkerEvents) {
    const { command, options } = ownCommand();
    const child = spawn(command, [...options, fileURLToPath(entry), workerRole], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.#child = child;
    this.#pipe = child.stdio[workerPipe] as Duplex;
    writeFrame(this.#pipe, order);
    const reader = new FrameReader(({ header, body }) => events.onMessage(header as WorkerMessage, body));
    this.#pipe.on('data', (piece: Buffer) => reader.push(piece));
    // What ends the pipe ends the process, and that is told below.
    this.#pipe.on('error', () => this.kill());
    child.once('error', (error) => events.onExit(error.message));
    child.once('exit', (code, signal) => events.onExit(signal === null ? `exit code ${code}` : signal));
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
    writeFrame(this.#pipe, request, body);
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
