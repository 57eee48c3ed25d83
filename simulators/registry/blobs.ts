import type { Digest } from '../../shared/digest.ts';
import type { Exchange } from './exchange.ts';
import type { Layout } from './layout.ts';
import { Refusal } from './refusal.ts';
import type { Repositories } from './repositories.ts';

/** Answers `GET`, `HEAD` and `DELETE` of a blob. Distribution-spec 1.1, "Pulling blobs" and "Deleting Blobs". */
export class BlobEndpoint {
  readonly #layout: Layout;
  readonly #repositories: Repositories;

  constructor(layout: Layout, repositories: Repositories) {
    this.#layout = layout;
    this.#repositories = repositories;
  }

  async get(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
    const size = await this.#sizeOf(repository, digest);
    const etag = `"${digest}"`;
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      etag,
    };
    if (exchange.header('if-none-match') === etag) return exchange.answer(304, headers);
    const range = rangeOf(exchange.header('range'), size);
    const isStale = (exchange.header('if-range') ?? etag) !== etag;
    if (range === undefined || isStale) {
      return exchange.answerStream(200, { ...headers, 'content-length': String(size) }, () =>
        this.#layout.stream(digest),
      );
    }
    const partial = {
      ...headers,
      'content-length': String(range.last - range.first + 1),
      'content-range': `bytes ${range.first}-${range.last}/${size}`,
    };
    return exchange.answerStream(206, partial, () => this.#layout.stream(digest, range));
  }

  async delete(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
    await this.#sizeOf(repository, digest);
    if ((await this.#repositories.get(repository))?.blobs.has(digest) === true) {
      throw new Refusal('UNSUPPORTED', `a manifest of "${repository}" refers to "${digest}"; delete that first`);
    }
    await this.#repositories.unlink(repository, digest);
    exchange.answer(202);
  }

  async #sizeOf(repository: string, digest: Digest): Promise<number> {
    const size = await this.#repositories.blobSize(repository, digest);
    if (size === undefined) throw new Refusal('BLOB_UNKNOWN', `there is no blob "${digest}" in "${repository}"`);
    return size;
  }
}

/**
 * Reads a `Range` header. Several ranges, and what is no range of bytes, count as none: RFC 9110, 14.2 lets a server give it all.
 * @throws {Refusal} with status 416 when it begins behind the end
 */
function rangeOf(header: string | undefined, size: number): { first: number; last: number } | undefined {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  const range =
    from === ''
      ? { first: Math.max(0, size - Number(to)), last: size - 1 }
      : { first: Number(from), last: to === '' ? size - 1 : Math.min(Number(to), size - 1) };
  if (to !== '' && from !== '' && Number(to) < Number(from)) return undefined;
  if (range.first <= range.last) return range;
  throw new Refusal('SIZE_INVALID', `the blob has ${size} bytes, the range "${header}" begins behind them`, {
    status: 416,
    headers: { 'content-range': `bytes */${size}` },
  });
}
