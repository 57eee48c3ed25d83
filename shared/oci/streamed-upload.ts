import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { RegistryTransport } from './registry-transport.ts';
import type { Expected } from './verified.ts';

/** How much may wait to be sent, in bytes; then who makes the blob waits too. */
const waitingBytesMax = 8 * 1024 * 1024;

/**
 * An upload of a blob that is still being made: neither digest nor size are known before its end. It is an attempt: when anything fails, the
 * registry is told that nobody goes on, no more is sent, and the blob is to be pushed as any other.
 * @see OCI distribution-spec 1.1, "Pushing a blob in chunks"; without `Content-Range` a chunk is as long as its stream
 */
export class StreamedUpload implements AsyncDisposable {
  readonly #transport: RegistryTransport;
  readonly #repository: string;
  readonly #pieces = new PassThrough({ highWaterMark: waitingBytesMax });
  readonly #broken = new AbortController();
  /** Gives where the upload goes on once all that was added is sent, or undefined when it broke. */
  readonly #sent: Promise<URL | undefined>;
  #location: URL | undefined;
  #isStored = false;

  /** @param signal ends it when it is aborted */
  constructor(transport: RegistryTransport, repository: string, signal: AbortSignal) {
    this.#transport = transport;
    this.#repository = repository;
    // What is added after a break goes nowhere.
    this.#pieces.on('error', () => undefined);
    const either = AbortSignal.any([signal, this.#broken.signal]);
    this.#sent = this.#send(either).catch(() => {
      this.#broken.abort();
      this.#pieces.destroy();
      return undefined;
    });
  }

  /** Adds a piece, which is not to be written to any more; comes back when there is room for the next one. */
  async add(piece: Uint8Array): Promise<void> {
    const { signal } = this.#broken;
    if (signal.aborted || this.#pieces.write(piece)) return;
    // A break while waiting is what `finish` tells.
    await once(this.#pieces, 'drain', { signal }).catch(() => undefined);
  }

  /** Says that no more is added. */
  end(): void {
    this.#pieces.end();
  }

  /** Has the registry keep what was sent as this blob; says whether it did. */
  async finish(blob: Expected): Promise<boolean> {
    const location = await this.#sent;
    if (location === undefined) return false;
    const target = new URL(location);
    target.searchParams.set('digest', blob.digest);
    this.#isStored = await this.#ask('PUT', target, [201]).catch(() => false);
    return this.#isStored;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#broken.abort();
    this.#pieces.destroy();
    await this.#sent;
    if (this.#isStored || this.#location === undefined) return;
    // A registry that cannot be told forgets it in time.
    await this.#ask('DELETE', this.#location, [202, 204]).catch(() => false);
  }

  async #send(signal: AbortSignal): Promise<URL | undefined> {
    const begin = {
      method: 'POST',
      target: `${this.#repository}/blobs/uploads/`,
      statuses: [202],
      attemptsMax: 1,
    } as const;
    await this.#move({ ...begin, signal });
    const target = this.#location;
    if (target === undefined) return undefined;
    const headers = { 'content-type': 'application/octet-stream' };
    const body = { open: () => this.#pieces as AsyncIterable<Uint8Array> };
    await this.#move({ method: 'PATCH', target, statuses: [202], headers, body, attemptsMax: 1, signal });
    return this.#location;
  }

  async #move(request: Omit<Parameters<RegistryTransport['send']>[0], 'doing' | 'scope'>): Promise<void> {
    using response = await this.#transport.send({ ...this.#about, ...request });
    await response.bytes();
    const location = response.header('location');
    if (location !== undefined) this.#location = new URL(location, response.url);
  }

  async #ask(method: 'DELETE' | 'PUT', target: URL, statuses: readonly number[]): Promise<boolean> {
    using response = await this.#transport.send({ ...this.#about, method, target, statuses, attemptsMax: 1 });
    await response.bytes();
    return true;
  }

  get #about(): { readonly doing: string; readonly scope: string } {
    return {
      doing: `push a blob to "${this.#repository}"`,
      scope: `repository:${this.#repository}:pull,push`,
    };
  }
}
