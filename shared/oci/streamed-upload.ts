import type { RegistryTransport } from './registry-transport.ts';
import type { Expected } from './verified.ts';

/** Bytes that wait to be sent, and what is told when they are. */
interface Waiting {
  readonly bytes: Uint8Array;
  readonly sent: () => void;
}

/**
 * An upload of a blob that is still being made: neither digest nor size are known before its end. It is an attempt: when anything fails, the
 * registry is told that nobody goes on, no more is sent, and the blob is to be pushed as any other.
 * @see OCI distribution-spec 1.1, "Pushing a blob in chunks"; without `Content-Range` a chunk is as long as its stream
 */
export class StreamedUpload implements AsyncDisposable {
  readonly #transport: RegistryTransport;
  readonly #repository: string;
  readonly #broken = new AbortController();
  readonly #waiting: Waiting[] = [];
  /** Called when there is something to send, or nothing more comes. */
  #wake = (): void => undefined;
  #isEnded = false;
  /** Whether nothing is sent any more. */
  #isOver = false;
  /** Gives where the upload goes on once all that was added is sent, or undefined when it broke. */
  readonly #sent: Promise<URL | undefined>;
  #location: URL | undefined;
  #isStored = false;

  /** @param signal ends it when it is aborted */
  constructor(transport: RegistryTransport, repository: string, signal: AbortSignal) {
    this.#transport = transport;
    this.#repository = repository;
    const either = AbortSignal.any([signal, this.#broken.signal]);
    this.#sent = this.#send(either).catch(() => {
      this.#break();
      return undefined;
    });
  }

  /** Adds bytes, and comes back when they are sent: until then they must stay as they are. Comes back at once after a break, which `finish` tells. */
  async add(bytes: Uint8Array): Promise<void> {
    if (this.#isOver) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, sent: resolve });
    this.#wake();
    await promise;
  }

  /** Says that no more is added. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
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
    this.#break();
    await this.#sent;
    if (this.#isStored || this.#location === undefined) return;
    // A registry that cannot be told forgets it in time.
    await this.#ask('DELETE', this.#location, [202, 204]).catch(() => false);
  }

  #break(): void {
    this.#broken.abort();
    this.#letGo();
    this.#wake();
  }

  /** Lets nobody wait any more. */
  #letGo(): void {
    this.#isOver = true;
    for (const { sent } of this.#waiting.splice(0)) sent();
  }

  /** Gives what was added. Who takes it is done with a piece when the next one is asked for. */
  async *#pieces(): AsyncGenerator<Uint8Array, void, void> {
    try {
      while (!this.#isOver) {
        const [next] = this.#waiting;
        if (next !== undefined) {
          yield next.bytes;
          this.#waiting.shift();
          next.sent();
        } else if (this.#isEnded) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          this.#wake = resolve;
          await promise;
        }
      }
    } finally {
      // The registry may answer before it has all.
      this.#letGo();
    }
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
    const body = { open: () => this.#pieces() };
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
