import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Smaller bodies fit the pipe whole; larger ones would stay in memory for long. */
const shelvedBytes = { least: 32 * 1024, most: 4 * 1024 * 1024 };

/** Requests of one worker whose bodies lie here: one that runs, one that is next, and some that are about to be. */
const placesMax = 4;

/** A file system that is memory. */
const memoryFolder = '/dev/shm';

/**
 * Memory through which bodies go to a worker. A pipe holds less than an image: what is behind that would have to wait until the worker's run
 * is over, and the worker then for the rest of it. The file has no name, and goes with the processes that have it open.
 */
export class BodyShelf {
  /** What the worker inherits. */
  readonly fileDescriptor: number;
  readonly #free = Array.from({ length: placesMax }, (_, place) => place);
  readonly #places = new Map<number, number>();
  #isClosed = false;

  private constructor(fileDescriptor: number) {
    this.fileDescriptor = fileDescriptor;
  }

  /** @returns undefined where the system has no such memory: everything takes the pipe then */
  static open(): BodyShelf | undefined {
    const path = join(memoryFolder, `modelferry-${randomUUID()}`);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    try {
      const shelf = new BodyShelf(openSync(path, flags, 0o600));
      rmSync(path);
      return shelf;
    } catch {
      return undefined;
    }
  }

  /**
   * Puts a request's body down.
   * @returns where it lies, or undefined where it has to take the pipe
   */
  put(id: number, body: Uint8Array): number | undefined {
    if (body.byteLength < shelvedBytes.least || body.byteLength > shelvedBytes.most) return undefined;
    // A number of a file that was closed may be another file's by now.
    const place = this.#isClosed ? undefined : this.#free.pop();
    if (place === undefined) return undefined;
    this.#places.set(id, place);
    try {
      if (writeSync(this.fileDescriptor, body, 0, body.byteLength, offsetOf(place)) === body.byteLength) return place;
    } catch {
      // The container's memory may be full.
    }
    this.release(id);
    return undefined;
  }

  /** Makes the place of a request free, which the worker has answered. */
  release(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    this.#free.push(place);
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.fileDescriptor);
    this.#isClosed = true;
  }
}

/**
 * The worker's side. Bodies are read into memory that is used again: making room for an image anew costs as much as reading its numbers. A body
 * is good until its request is answered, when its place may be taken by the next.
 */
export class ShelvedBodies {
  readonly #fileDescriptor: number;
  readonly #room = Array.from({ length: placesMax }, () => Buffer.alloc(0));

  constructor(fileDescriptor: number) {
    this.#fileDescriptor = fileDescriptor;
  }

  /** @param jsonBytes of JSON stand at its start; the tensors behind them are aligned */
  take({ place, bytes }: { readonly place: number; readonly bytes: number }, jsonBytes = 0): Uint8Array {
    let room = this.#room[place];
    if (room === undefined || room.byteLength < bytes + alignment) {
      room = Buffer.allocUnsafeSlow(bytes + alignment);
      this.#room[place] = room;
    }
    const start = (alignment - (jsonBytes % alignment)) % alignment;
    const taken = readSync(this.#fileDescriptor, room, start, bytes, offsetOf(place));
    if (taken !== bytes) throw new Error(`${taken} bytes of a request are there, ${bytes} were wanted`);
    return room.subarray(start, start + bytes);
  }
}

/** What vector instructions like. */
const alignment = 64;

function offsetOf(place: number): number {
  return place * shelvedBytes.most;
}
