import { FerryError } from '../errors.ts';
import type { UploadSessions } from './upload-sessions.ts';
import type { Expected } from './verified.ts';
import { type RegistryResponse, type RegistryTransport } from './registry-transport.ts';
import { attemptsMax, isRetryableFailure } from './registry-retries.ts';

/** What is uploaded: its bytes can be read from any place, as often as is needed. */
export interface UploadSource {
  /** Gives the bytes from `start` up to and without `end`. */
  open(start: number, end: number): AsyncIterable<Uint8Array>;
}

/** The settings of {@link uploadBlob}. */
export interface UploadOptions {
  /** Larger blobs go in chunks of so many bytes. @default 64 MiB, where a blob is over 128 MiB */
  readonly chunkBytes?: number;
  /** Where it is kept how far a large blob is, to be gone on with by another process. @default nowhere */
  readonly sessions?: UploadSessions;
  readonly signal?: AbortSignal;
  /** Called with the number of bytes that the registry has so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** A chunk is what is sent again after a break, and what a registry holds in memory at worst. */
const defaultChunkBytes = 64 * 1024 * 1024;
/** Up to here the answers that chunks wait for cost more than what a break does. */
const wholeBytesMax = 2 * defaultChunkBytes;

/**
 * Uploads a blob: in one request where it fits into a chunk, else in chunks, going on after a break where the registry says
 * that it is.
 * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED when it cannot be brought to an end
 * @throws {FerryError} DIGEST_MISMATCH when the registry says that it has stored something else
 * @see OCI distribution-spec 1.1, "Pushing blobs"
 */
export async function uploadBlob(
  transport: RegistryTransport,
  target: { readonly repository: string; readonly blob: Expected; readonly source: UploadSource },
  options: UploadOptions = {},
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const upload = new BlobUpload(transport, target, options);
    try {
      return await upload.run();
    } catch (error) {
      options.signal?.throwIfAborted();
      // An upload that the registry has forgotten, or that broke off where it cannot be gone on with, begins again.
      const isWorthIt = upload.isLost || (upload.hasBegun && isRetryableFailure(error));
      if (attempt >= attemptsMax || !isWorthIt) {
        // What broke off for want of a link is kept for another process to go on with.
        if (options.sessions === undefined || !isRetryableFailure(error)) await upload.cancel();
        throw error;
      }
      await transport.waitToRetry(attempt - 1, error, options.signal);
    }
  }
}

/** One upload session at a registry. */
class BlobUpload {
  readonly #transport: RegistryTransport;
  readonly #repository: string;
  readonly #blob: Expected;
  readonly #source: UploadSource;
  readonly #options: UploadOptions;
  #location: URL | undefined;
  #sent = 0;
  #isLost = false;

  constructor(
    transport: RegistryTransport,
    { repository, blob, source }: { repository: string; blob: Expected; source: UploadSource },
    options: UploadOptions,
  ) {
    this.#transport = transport;
    this.#repository = repository;
    this.#blob = blob;
    this.#source = source;
    this.#options = options;
  }

  /** Whether the registry knows nothing of the session any more. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Whether the registry has opened a session: where it has not, asking was repeated already. */
  get hasBegun(): boolean {
    return this.#location !== undefined;
  }

  async run(): Promise<void> {
    const { chunkBytes = defaultChunkBytes } = this.#options;
    const isWhole = this.#blob.size <= (this.#options.chunkBytes ?? wholeBytesMax);
    const isResumed = !isWhole && (await this.#resume());
    const leastBytes = isResumed ? 0 : await this.#begin();
    if (!isWhole) {
      await this.#keepPlace();
      await this.#sendChunks(Math.max(chunkBytes, leastBytes));
    }
    await this.#finish();
    if (!isWhole) await this.#options.sessions?.forget(this.#name);
  }

  /** Opens a session, and gives how many bytes a chunk must have at least, as the registry may ask for larger ones. */
  async #begin(): Promise<number> {
    const begun = await this.#send('POST', `${this.#repository}/blobs/uploads/`, { statuses: [202] });
    this.#moveTo(begun);
    return Number(begun.header('oci-chunk-min-length') ?? '0') || 0;
  }

  /** Goes on with what another process left; says whether there is such a thing, that the registry still knows. */
  async #resume(): Promise<boolean> {
    this.#location = await this.#options.sessions?.claim(this.#name);
    if (this.#location === undefined) return false;
    try {
      await this.#findOutHowFar();
    } catch {
      this.#options.signal?.throwIfAborted();
    }
    // One that holds more than the blob is another one's.
    if (this.#sent > 0 && this.#sent <= this.#blob.size && !this.#isLost) return true;
    await this.#options.sessions?.forget(this.#name);
    [this.#location, this.#sent, this.#isLost] = [undefined, 0, false];
    return false;
  }

  async #keepPlace(): Promise<void> {
    if (this.#location !== undefined) await this.#options.sessions?.keep(this.#name, this.#location);
  }

  /** What the upload is known by to another process. */
  get #name(): string {
    return `${this.#transport.host}/${this.#repository}@${this.#blob.digest}`;
  }

  /** Tells the registry that nobody will go on with it; one that cannot be told forgets it in time. */
  async cancel(): Promise<void> {
    await this.#options.sessions?.forget(this.#name);
    if (this.#location === undefined || this.#isLost) return;
    const statuses = [200, 202, 204, 400, 401, 403, 404, 405];
    await this.#send('DELETE', this.#location, { statuses, attemptsMax: 1 }).catch(() => undefined);
  }

  async #sendChunks(chunkBytes: number): Promise<void> {
    let failures = 0;
    while (this.#sent < this.#blob.size) {
      const end = Math.min(this.#sent + chunkBytes, this.#blob.size);
      try {
        await this.#sendChunk(end);
        failures = 0;
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        failures += 1;
        if (failures >= attemptsMax || !isRetryableFailure(error)) throw error;
        await this.#transport.waitToRetry(failures - 1, error, this.#options.signal);
        await this.#findOutHowFar();
      }
    }
  }

  async #sendChunk(end: number): Promise<void> {
    const start = this.#sent;
    const headers = { 'content-type': 'application/octet-stream', 'content-range': `${start}-${end - 1}` };
    const sent = await this.#send('PATCH', this.#here(), { statuses: [202], headers, start, end, attemptsMax: 1 });
    this.#moveTo(sent);
    this.#sent = end;
    await this.#keepPlace();
    this.#options.onProgress?.(end);
  }

  /** Asks how much the registry has after a break, and goes on from there. */
  async #findOutHowFar(): Promise<void> {
    const status = await this.#send('GET', this.#here(), { statuses: [204, 404] });
    const [, last] = /^0-(\d+)$/.exec(status.header('range') ?? '') ?? [];
    // "0-0" is one byte or none: then, as when the session is gone, only a new one is certain.
    if (status.status === 404 || last === undefined || last === '0') {
      this.#isLost = true;
      throw new FerryError(
        'REGISTRY_UNREACHABLE',
        `Cannot go on with the upload of "${this.#blob.digest}": it is gone`,
      );
    }
    this.#moveTo(status);
    this.#sent = Number(last) + 1;
  }

  async #finish(): Promise<void> {
    const target = new URL(this.#here());
    target.searchParams.set('digest', this.#blob.digest);
    const rest = this.#sent === 0 ? { start: 0, end: this.#blob.size } : {};
    const headers = { 'content-type': 'application/octet-stream' };
    const stored = await this.#send('PUT', target, { statuses: [201], headers, ...rest, attemptsMax: 1 });
    const digest = stored.header('docker-content-digest') ?? this.#blob.digest;
    if (digest !== this.#blob.digest) {
      const message = `Cannot push "${this.#blob.digest}" to "${this.#transport.host}": it says it stored "${digest}"`;
      throw new FerryError('DIGEST_MISMATCH', message);
    }
    this.#options.onProgress?.(this.#blob.size);
  }

  async #send(
    method: 'DELETE' | 'GET' | 'PATCH' | 'POST' | 'PUT',
    target: string | URL,
    request: {
      readonly statuses: readonly number[];
      readonly headers?: Readonly<Record<string, string>>;
      /** The bytes of the blob that are sent. */
      readonly start?: number;
      readonly end?: number;
      readonly attemptsMax?: number;
    },
  ): Promise<RegistryResponse> {
    const { start, end, ...rest } = request;
    const body =
      start === undefined || end === undefined
        ? {}
        : { body: { size: end - start, open: () => this.#report(this.#source.open(start, end), start) } };
    using response = await this.#transport.send({
      doing: `push "${this.#blob.digest}" to "${this.#repository}"`,
      method,
      target,
      scope: `repository:${this.#repository}:pull,push`,
      ...rest,
      ...body,
      ...(this.#options.signal === undefined ? {} : { signal: this.#options.signal }),
    });
    await response.bytes();
    return response;
  }

  async *#report(source: AsyncIterable<Uint8Array>, start: number): AsyncGenerator<Uint8Array, void, void> {
    let bytes = start;
    for await (const piece of source) {
      yield piece;
      bytes += piece.byteLength;
      this.#options.onProgress?.(bytes);
    }
  }

  #moveTo(response: RegistryResponse): void {
    const location = response.header('location');
    if (location !== undefined) this.#location = new URL(location, response.url);
  }

  #here(): URL {
    if (this.#location !== undefined) return this.#location;
    const message = `Cannot push "${this.#blob.digest}": the registry "${this.#transport.host}" gave no address for it`;
    throw new FerryError('REGISTRY_REFUSED', message);
  }
}
