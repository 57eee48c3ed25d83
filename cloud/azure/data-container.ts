import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { Readable } from 'node:stream';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { storageFailure } from './storage-failure.ts';

/** How long one call may take, in milliseconds; for a blob's content, how long it may stand still. */
const callTimeoutMs = 30_000;
/** Tries of one call by the storage client, and the pause between two of them. */
const retryOptions = { maxTries: 2, retryDelayInMs: 200, tryTimeoutInMs: callTimeoutMs };
/** How often a download that breaks off is taken up again where it stopped. */
const resumesMax = 3;

/** A blob as a listing shows it. */
export interface BlobEntry {
  readonly name: string;
  readonly bytes: number;
  readonly etag: string;
  /** Names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The container that collected rows are in. Every failure says the storage's address. */
export class DataContainer {
  /** `https://…/<container>`, no secret in it. */
  readonly address: string;
  readonly #container: ContainerClient;

  private constructor(container: ContainerClient) {
    this.#container = container;
    const { origin, pathname } = new URL(container.url);
    this.address = `${origin}${pathname}`;
  }

  /**
   * Opens the workspace's container, without a call.
   * @throws {FerryError} ENDPOINT_MISSING when the workspace has no storage
   * @throws {FerryError} CONNECTION_STRING_INVALID when its connection string is none
   */
  static async open(workspace: Workspace): Promise<DataContainer> {
    const { storageConnectionString } = await workspace.secrets();
    const { storage } = workspace.config.endpoints;
    if (storage === undefined || storageConnectionString === undefined) {
      throw new FerryError('ENDPOINT_MISSING', 'Cannot read collected data: the workspace has no storage account', {
        next: 'Start the local one with `ferry up`.',
      });
    }
    return new DataContainer(serviceClient(storageConnectionString).getContainerClient(storage.container));
  }

  /** Gives the names of the topmost folders, without the slash. */
  async listFolders(signal: AbortSignal): Promise<string[]> {
    const pages = this.#container.listBlobsByHierarchy('/').byPage();
    const folders: string[] = [];
    for (;;) {
      const page = await this.#call('list the folders of collected data', signal, () => pages.next());
      if (page.done) return folders;
      folders.push(...(page.value.segment.blobPrefixes ?? []).map(({ name }) => name.slice(0, -1)));
    }
  }

  /** Gives the blobs whose names begin with the prefix, by name. */
  async *listBlobs(prefix: string, signal: AbortSignal): AsyncGenerator<BlobEntry> {
    const pages = this.#container.listBlobsFlat({ prefix, includeMetadata: true }).byPage();
    for (;;) {
      const page = await this.#call('list collected data', signal, () => pages.next());
      if (page.done) return;
      for (const { name, properties, metadata = {} } of page.value.segment.blobItems) {
        const pairs = Object.entries(metadata).map(([key, value]) => [key.toLowerCase(), value]);
        yield {
          name,
          bytes: properties.contentLength ?? 0,
          etag: properties.etag,
          metadata: Object.fromEntries(pairs),
        };
      }
    }
  }

  /** Reads a blob piece by piece; a download that breaks off goes on where it stopped. */
  async *read(name: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const doing = `read the blob "${name}"`;
    const response = await this.#call(doing, signal, () =>
      this.#container.getBlobClient(name).download(0, undefined, { abortSignal: signal, maxRetryRequests: resumesMax }),
    );
    const body = response.readableStreamBody;
    if (body === undefined) return;
    using content = new DisposableStack();
    content.defer(() => Readable.prototype.destroy.call(body));
    const pieces = body[Symbol.asyncIterator]();
    for (;;) {
      const piece = await this.#call(doing, signal, () => pieces.next());
      if (piece.done) return;
      yield piece.value as Uint8Array;
    }
  }

  /** Writes a blob, over one of the same name. */
  async write(
    name: string,
    content: Uint8Array,
    options: {
      readonly contentType: string;
      readonly metadata: Readonly<Record<string, string>>;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { contentType, metadata, signal } = options;
    await this.#call(`write the blob "${name}"`, signal, () =>
      this.#container.getBlockBlobClient(name).uploadData(content, {
        abortSignal: signal,
        blobHTTPHeaders: { blobContentType: contentType },
        metadata: { ...metadata },
      }),
    );
  }

  async #call<T>(doing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await withDeadline({ doing, timeoutMs: callTimeoutMs * 2, signal }, work);
    } catch (error) {
      signal.throwIfAborted();
      throw storageFailure(error, { doing, address: this.address });
    }
  }
}

function serviceClient(connectionString: string): BlobServiceClient {
  try {
    return BlobServiceClient.fromConnectionString(connectionString, { retryOptions });
  } catch {
    // The client's own message may repeat parts of the text, and the text holds the key.
    throw new FerryError(
      'CONNECTION_STRING_INVALID',
      'Cannot read the storage connection string: it is none, "AccountName=…;AccountKey=…;BlobEndpoint=…" was wanted',
    );
  }
}
