import { bodyPieces } from './body-pieces.ts';
import type { Exchange } from './exchange.ts';
import { isDiskFull, Refusal } from './refusal.ts';
import type { Repositories } from './repositories.ts';
import { checkDigest, isName } from './route.ts';
import type { Upload, Uploads } from './uploads.ts';

/** Answers what pushes blobs: whole, in chunks, streamed, or mounted. Distribution-spec 1.1, "Pushing blobs". */
export class UploadEndpoint {
  readonly #repositories: Repositories;
  readonly #uploads: Uploads;

  constructor(repositories: Repositories, uploads: Uploads) {
    this.#repositories = repositories;
    this.#uploads = uploads;
  }

  /** `POST`: begins an upload, or does it wholly with `digest`, or mounts with `mount` and `from`. */
  async begin(exchange: Exchange, repository: string): Promise<void> {
    if (await this.#mount(exchange, repository)) return;
    const digest = exchange.query.get('digest');
    if (digest !== null) checkDigest(digest);
    const upload = await this.#uploads.begin(repository);
    if (digest === null) return answerProgress(exchange, upload, 202);
    try {
      await upload.append(bodyPieces(exchange.request));
    } catch (error) {
      // Nobody knows of it yet, so nobody could go on with it.
      await this.#uploads.discard(upload);
      throw error;
    }
    return this.#finish(exchange, upload, digest);
  }

  /** `PATCH`: adds a chunk, which with a `Content-Range` must begin where the last one ended. */
  async append(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = this.#uploads.get(repository, id);
    checkContentRange(exchange, upload);
    await this.#take(exchange, upload);
    answerProgress(exchange, upload, 202);
  }

  /** `PUT`: adds a last chunk, if there is one, and ends the upload. */
  async finish(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = this.#uploads.get(repository, id);
    const digest = checkDigest(exchange.query.get('digest') ?? '');
    checkContentRange(exchange, upload);
    await this.#take(exchange, upload);
    return this.#finish(exchange, upload, digest);
  }

  /** `GET`: tells how far it is, for a client that goes on after a break. */
  status(exchange: Exchange, repository: string, id: string): void {
    answerProgress(exchange, this.#uploads.get(repository, id), 204);
  }

  /** `DELETE`: gives it up. */
  async cancel(exchange: Exchange, repository: string, id: string): Promise<void> {
    await this.#uploads.discard(this.#uploads.get(repository, id));
    exchange.answer(204);
  }

  /** Mounts, where the other repository shows the blob; else the client is given an upload, as the specification has it. */
  async #mount(exchange: Exchange, repository: string): Promise<boolean> {
    const mount = exchange.query.get('mount');
    const from = exchange.query.get('from');
    if (mount === null) return false;
    const digest = checkDigest(mount);
    if (from === null || !isName(from) || (await this.#repositories.blobSize(from, digest)) === undefined) return false;
    await this.#repositories.link(repository, digest);
    exchange.answer(201, { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest });
    return true;
  }

  /** Takes a request's body. What a full disk has no room for is given up, so that there is room again for others. */
  async #take(exchange: Exchange, upload: Upload): Promise<void> {
    try {
      await upload.append(bodyPieces(exchange.request));
    } catch (error) {
      if (isDiskFull(error)) await this.#uploads.discard(upload);
      throw error;
    }
  }

  async #finish(exchange: Exchange, upload: Upload, wanted: string): Promise<void> {
    const digest = checkDigest(wanted);
    await this.#uploads.finish(upload, digest);
    await this.#repositories.link(upload.repository, digest);
    const location = `/v2/${upload.repository}/blobs/${digest}`;
    exchange.answer(201, { location, 'docker-content-digest': digest });
  }
}

function answerProgress(exchange: Exchange, upload: Upload, status: number): void {
  exchange.answer(status, progressOf(upload));
}

function progressOf(upload: Upload): Record<string, string> {
  return {
    location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
    range: `0-${Math.max(0, upload.bytes - 1)}`,
    'docker-upload-uuid': upload.id,
  };
}

/** @throws {Refusal} with status 416 when the chunk does not begin where the upload is */
function checkContentRange(exchange: Exchange, upload: Upload): void {
  const header = exchange.header('content-range');
  if (header === undefined) return;
  // Distribution-spec 1.1: `<start>-<end>` without a unit; some clients write one nevertheless.
  const [, first, last] = /^(?:bytes[ =])?(\d+)-(\d+)(?:\/.*)?$/.exec(header) ?? [];
  const length = exchange.header('content-length');
  const isWhole = length === undefined || Number(last) - Number(first) + 1 === Number(length);
  if (first !== undefined && Number(first) === upload.bytes && isWhole) return;
  const message = `the chunk "${header}" of ${length ?? 'unknown'} bytes was sent, one that begins at ${upload.bytes} was wanted`;
  throw new Refusal('BLOB_UPLOAD_INVALID', message, { status: 416, headers: progressOf(upload) });
}
