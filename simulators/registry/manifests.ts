import { randomUUID } from 'node:crypto';
import { digestOf, isDigest } from '../../shared/digest.ts';
import { type Document, parseDocument } from './document.ts';
import type { Exchange } from './exchange.ts';
import type { Layout } from './layout.ts';
import { Refusal } from './refusal.ts';
import type { HeldManifest, Repositories } from './repositories.ts';
import type { Uploads } from './uploads.ts';

/** Distribution-spec 1.1, "Pushing manifests": registries should take at least 4 MiB. */
const manifestBytesMax = 4 * 1024 * 1024;

/** Answers `GET`, `HEAD`, `PUT` and `DELETE` of a manifest. */
export class ManifestEndpoint {
  readonly #layout: Layout;
  readonly #repositories: Repositories;
  readonly #uploads: Uploads;

  constructor(layout: Layout, repositories: Repositories, uploads: Uploads) {
    this.#layout = layout;
    this.#repositories = repositories;
    this.#uploads = uploads;
  }

  async get(exchange: Exchange, repository: string, reference: string): Promise<void> {
    const { mediaType, digest } = await this.#find(repository, reference);
    const etag = `"${digest}"`;
    const headers = { 'content-type': mediaType, 'docker-content-digest': digest, etag };
    if (exchange.header('if-none-match') === etag) return exchange.answer(304, headers);
    const bytes = await this.#layout.read(digest);
    if (digestOf(bytes) !== digest) throw new Error(`The file of "${digest}" has another digest`);
    return exchange.answer(200, headers, bytes);
  }

  async put(exchange: Exchange, repository: string, reference: string): Promise<void> {
    const bytes = await exchange.body(manifestBytesMax);
    const digest = digestOf(bytes);
    if (isDigest(reference) && reference !== digest) {
      throw new Refusal('DIGEST_INVALID', `its bytes have the digest "${digest}", not "${reference}"`);
    }
    const mediaType = (exchange.header('content-type') ?? '').split(';')[0]?.trim() ?? '';
    const document = parseDocument(bytes, mediaType);
    await this.#checkChildren(repository, document);
    await this.#layout.store(bytes, digest, this.#uploads.pathFor(randomUUID()));
    const tag = isDigest(reference) ? undefined : reference;
    await this.#layout.hold({ repository, tag, mediaType, digest, size: bytes.byteLength });
    exchange.answer(201, {
      location: `/v2/${repository}/manifests/${digest}`,
      'docker-content-digest': digest,
      ...(document.subject === undefined ? {} : { 'oci-subject': document.subject }),
    });
  }

  /** A digest takes the manifest and all its tags away, a tag only itself. Distribution-spec 1.1, "Deleting manifests" and "Deleting tags". */
  async delete(exchange: Exchange, repository: string, reference: string): Promise<void> {
    const { digest } = await this.#find(repository, reference);
    if (isDigest(reference)) await this.#layout.dropManifest(repository, digest);
    else await this.#layout.dropTag(repository, reference);
    exchange.answer(202);
  }

  async #find(repository: string, reference: string): Promise<HeldManifest> {
    const shown = await this.#repositories.get(repository);
    if (shown === undefined) throw new Refusal('NAME_UNKNOWN', `there is no repository "${repository}"`);
    const digest = isDigest(reference) ? reference : shown.tags.get(reference);
    const manifest = digest === undefined ? undefined : shown.manifests.get(digest);
    if (manifest === undefined) {
      throw new Refusal('MANIFEST_UNKNOWN', `there is no manifest "${reference}" in "${repository}"`);
    }
    return manifest;
  }

  /** @throws {Refusal} when the repository does not show what the manifest refers to, with every digest that is missing */
  async #checkChildren(repository: string, document: Document): Promise<void> {
    const shown = await this.#repositories.get(repository);
    const missing = document.manifests.filter(({ digest }) => shown?.manifests.has(digest) !== true);
    const sizes = await Promise.all(
      document.blobs.map(({ digest }) => this.#repositories.blobSize(repository, digest)),
    );
    const unknown = [...missing, ...document.blobs.filter((_, at) => sizes[at] === undefined)];
    if (unknown.length > 0) {
      const digests = unknown.map(({ digest }) => `"${digest}"`).join(', ');
      throw new Refusal('MANIFEST_BLOB_UNKNOWN', `"${repository}" has not what the manifest refers to: ${digests}`);
    }
    const wrong = document.blobs.flatMap(({ digest, size }, at) =>
      sizes[at] === size ? [] : [`"${digest}" has ${sizes[at]} bytes, not ${size}`],
    );
    if (wrong.length > 0) throw new Refusal('SIZE_INVALID', wrong.join('; '));
  }
}
