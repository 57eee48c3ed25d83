import { z } from 'zod';
import { type Digest, digestOf, isDigest } from '../digest.ts';
import { FerryError } from '../errors.ts';
import { downloadBlob, type DownloadOptions } from './blob-download.ts';
import { uploadBlob, type UploadOptions, type UploadSource } from './blob-upload.ts';
import type { Descriptor } from './descriptor.ts';
import { type ImageIndex, indexSchema, type ManifestDocument, parseManifest } from './manifest.ts';
import { manifestMediaTypes, mediaTypes } from './media-types.ts';
import { referrersTag, subjectOf, withReferrer } from './referrers.ts';
import { attemptsMax } from './registry-retries.ts';
import { type RegistryResponse, RegistryTransport, type RegistryTransportOptions } from './registry-transport.ts';
import { StreamedUpload } from './streamed-upload.ts';
import { type Expected, verified } from './verified.ts';

/** What every operation takes beside its own. */
export interface RegistryCallOptions {
  readonly signal?: AbortSignal;
}

/** Distribution-spec 1.1, "Listing Tags". */
const tagsSchema = z.looseObject({ tags: z.array(z.string()).nullable() });
/** Pages of tags that are read at most; a thousand tags a page are usual. */
const tagPagesMax = 1000;

/**
 * A client of one registry, by the OCI distribution-spec 1.1.
 *
 * Every operation may fail with REGISTRY_UNREACHABLE (no connection), REGISTRY_REFUSED (another status than wanted, with the
 * registry's own code and message) or TIMEOUT (nothing moved for too long); what may succeed the next time is repeated first.
 * What comes with a digest is checked against it in both directions.
 */
export class RegistryClient {
  readonly host: string;
  readonly #transport: RegistryTransport;

  /** @param host `localhost:5000`, `example.azurecr.io`; plain HTTP is spoken to this machine alone */
  constructor(host: string, options: RegistryTransportOptions = {}) {
    this.host = host;
    this.#transport = new RegistryTransport(host, options);
  }

  /** Finds out whether the registry answers and lets one in. */
  async ping(options: RegistryCallOptions = {}): Promise<void> {
    using response = await this.#transport.send({
      doing: 'reach /v2/',
      method: 'GET',
      target: '',
      scope: '',
      statuses: [200],
      ...options,
    });
    await response.bytes();
  }

  /** Gives what a tag or digest stands for, or undefined. */
  async headManifest(
    repository: string,
    tagOrDigest: string,
    options: RegistryCallOptions = {},
  ): Promise<Pick<Descriptor, 'mediaType' | 'digest' | 'size'> | undefined> {
    using response = await this.#askForManifest('HEAD', repository, tagOrDigest, options);
    if (response.status === 404) return undefined;
    const digest = response.header('docker-content-digest');
    const size = response.header('content-length');
    // A registry need not name the digest; then only the manifest itself tells it.
    if (digest === undefined || size === undefined || !isDigest(digest)) {
      return (await this.getManifest(repository, tagOrDigest, options))?.descriptor;
    }
    return { mediaType: mediaTypeOf(response), digest, size: Number(size) };
  }

  /**
   * Reads what a tag or digest stands for, or undefined.
   * @throws {FerryError} DIGEST_MISMATCH when it has another digest than the one that was asked for, or that the registry names
   * @throws {FerryError} IMAGE_INVALID when it is no manifest
   */
  async getManifest(
    repository: string,
    tagOrDigest: string,
    options: RegistryCallOptions = {},
  ): Promise<ManifestDocument | undefined> {
    using response = await this.#askForManifest('GET', repository, tagOrDigest, options);
    const bytes = await response.bytes();
    if (response.status === 404) return undefined;
    const wanted = isDigest(tagOrDigest) ? tagOrDigest : response.header('docker-content-digest');
    const digest = digestOf(bytes);
    if (wanted !== undefined && digest !== wanted) throw this.#mismatch(`${repository}:${tagOrDigest}`, digest, wanted);
    return parseManifest(bytes, mediaTypeOf(response));
  }

  /**
   * Pushes a manifest under a tag, or under its digest alone; its blobs must be there. Where the registry does not list by itself what refers
   * to the manifest's subject, it is listed under the subject's tag.
   * @throws {FerryError} DIGEST_MISMATCH when the registry says that it has stored something else
   */
  async putManifest(
    repository: string,
    tag: string | undefined,
    manifest: { readonly bytes: Uint8Array; readonly mediaType: string },
    options: RegistryCallOptions = {},
  ): Promise<Digest> {
    const digest = digestOf(manifest.bytes);
    using response = await this.#transport.send({
      doing: `push the manifest "${repository}${tag === undefined ? `@${digest}` : `:${tag}`}"`,
      method: 'PUT',
      target: `${repository}/manifests/${tag ?? digest}`,
      scope: `repository:${repository}:pull,push`,
      headers: { 'content-type': manifest.mediaType },
      body: manifest.bytes,
      statuses: [201],
      ...options,
    });
    await response.bytes();
    const stored = response.header('docker-content-digest') ?? digest;
    if (stored !== digest) throw this.#mismatch(`${repository}:${tag ?? digest}`, stored, digest);
    if (response.header('oci-subject') === undefined) await this.#listReferrer(repository, manifest, options);
    return digest;
  }

  /** Deletes a manifest with all its tags, or a tag alone; gives false where there was none. */
  async deleteManifest(repository: string, tagOrDigest: string, options: RegistryCallOptions = {}): Promise<boolean> {
    using response = await this.#transport.send({
      doing: `delete the manifest "${tagOrDigest}" of "${repository}"`,
      method: 'DELETE',
      target: `${repository}/manifests/${tagOrDigest}`,
      scope: `repository:${repository}:delete,pull,push`,
      statuses: [200, 202, 404],
      ...options,
    });
    await response.bytes();
    return response.status !== 404;
  }

  /** Gives the size in bytes of a blob, or undefined where the repository does not have it. */
  async headBlob(repository: string, digest: Digest, options: RegistryCallOptions = {}): Promise<number | undefined> {
    using response = await this.#transport.send({
      doing: `look for "${digest}" in "${repository}"`,
      method: 'HEAD',
      target: `${repository}/blobs/${digest}`,
      scope: `repository:${repository}:pull`,
      statuses: [200, 404],
      ...options,
    });
    return response.status === 404 ? undefined : Number(response.header('content-length') ?? 0);
  }

  /**
   * Gives the bytes of a blob as they come, from the start; goes on after a break. Not to be used before the end has come.
   * @throws {FerryError} IMAGE_NOT_FOUND when the repository has no such blob
   * @throws {FerryError} DIGEST_MISMATCH when they are not what was expected
   */
  readBlob(repository: string, blob: Expected, options: RegistryCallOptions = {}): AsyncIterable<Uint8Array> {
    const pieces = downloadBlob(this.#transport, { repository, blob }, options);
    return verified(pieces, blob, `the registry "${this.host}"`);
  }

  /** Gives the bytes of a blob from any place on, unchecked: for who has the first part already and checks the whole. */
  readBlobFrom(repository: string, blob: Expected, options: DownloadOptions): AsyncIterable<Uint8Array> {
    return downloadBlob(this.#transport, { repository, blob }, options);
  }

  /** Makes a blob of another repository part of this one without moving it; gives false where the registry does not. */
  async mountBlob(
    repository: string,
    blob: { readonly digest: Digest; readonly from: string },
    options: RegistryCallOptions = {},
  ): Promise<boolean> {
    const query = new URLSearchParams({ mount: blob.digest, from: blob.from });
    using response = await this.#transport.send({
      doing: `mount "${blob.digest}" of "${blob.from}" into "${repository}"`,
      method: 'POST',
      target: `${repository}/blobs/uploads/?${query.toString()}`,
      scope: `repository:${repository}:pull,push repository:${blob.from}:pull`,
      statuses: [201, 202],
      ...options,
    });
    await response.bytes();
    const location = response.header('location');
    if (response.status === 201) return true;
    // The registry began an upload instead, which nobody will go on with.
    if (location !== undefined) await this.#cancelUpload(repository, new URL(location, response.url), options);
    return false;
  }

  /**
   * Pushes a blob, in chunks where it is large; goes on after a break.
   * @throws {FerryError} DIGEST_MISMATCH when the registry says that it has stored something else
   */
  uploadBlob(repository: string, blob: Expected, source: UploadSource, options: UploadOptions = {}): Promise<void> {
    return uploadBlob(this.#transport, { repository, blob, source }, options);
  }

  /** Begins to push a blob that is still being made. */
  streamBlob(repository: string, signal: AbortSignal): StreamedUpload {
    return new StreamedUpload(this.#transport, repository, signal);
  }

  /** Gives all tags of a repository, sorted; none where there is no such repository. */
  async tags(repository: string, options: RegistryCallOptions = {}): Promise<readonly string[]> {
    const tags: string[] = [];
    let target: string | URL | undefined = `${repository}/tags/list`;
    for (let page = 0; target !== undefined && page < tagPagesMax; page += 1) {
      using response = await this.#transport.send({
        doing: `list the tags of "${repository}"`,
        method: 'GET',
        target,
        scope: `repository:${repository}:pull`,
        statuses: [200, 404],
        ...options,
      });
      const bytes = await response.bytes();
      if (response.status === 404) return [];
      tags.push(...(this.#parse(bytes, tagsSchema).tags ?? []));
      const next: string | undefined = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(response.header('link') ?? '')?.[1];
      target = next === undefined ? undefined : new URL(next, response.url);
    }
    return tags.sort();
  }

  /** Lists the manifests that refer to one as their subject. */
  async referrers(
    repository: string,
    digest: Digest,
    options: RegistryCallOptions & { readonly artifactType?: string } = {},
  ): Promise<readonly Descriptor[]> {
    const { artifactType, ...rest } = options;
    using response = await this.#transport.send({
      doing: `list what refers to "${digest}" in "${repository}"`,
      method: 'GET',
      target: `${repository}/referrers/${digest}`,
      scope: `repository:${repository}:pull`,
      statuses: [200, 404],
      ...rest,
    });
    const bytes = await response.bytes();
    // A registry may leave the choosing to its client, so none is left to it.
    const all: ImageIndex['manifests'] =
      response.status === 404
        ? ((await this.#taggedReferrers(repository, digest, rest))?.manifests ?? [])
        : this.#parse(bytes, indexSchema).manifests;
    return artifactType === undefined ? all : all.filter((referrer) => referrer.artifactType === artifactType);
  }

  /** Reads the index under the tag of a subject, of a registry that does not list referrers. */
  async #taggedReferrers(
    repository: string,
    subject: Digest,
    options: RegistryCallOptions,
  ): Promise<ImageIndex | undefined> {
    const found = await this.getManifest(repository, referrersTag(subject), options);
    return found?.kind === 'index' ? found.index : undefined;
  }

  async #listReferrer(
    repository: string,
    manifest: { readonly bytes: Uint8Array; readonly mediaType: string },
    options: RegistryCallOptions,
  ): Promise<void> {
    const document = parseManifest(manifest.bytes, manifest.mediaType);
    const subject = subjectOf(document);
    if (subject === undefined) return;
    // Another client may replace the index between our reading and writing it: it is looked at again.
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const bytes = withReferrer(await this.#taggedReferrers(repository, subject.digest, options), document);
      if (bytes === undefined) return;
      await this.putManifest(repository, referrersTag(subject.digest), { bytes, mediaType: mediaTypes.index }, options);
    }
  }

  #askForManifest(
    method: 'GET' | 'HEAD',
    repository: string,
    tagOrDigest: string,
    options: RegistryCallOptions,
  ): ReturnType<RegistryTransport['send']> {
    return this.#transport.send({
      doing: `read the manifest "${repository}${isDigest(tagOrDigest) ? '@' : ':'}${tagOrDigest}"`,
      method,
      target: `${repository}/manifests/${tagOrDigest}`,
      scope: `repository:${repository}:pull`,
      headers: { accept: manifestMediaTypes.join(', ') },
      statuses: [200, 404],
      ...options,
    });
  }

  async #cancelUpload(repository: string, target: URL, options: RegistryCallOptions): Promise<void> {
    using response = await this.#transport.send({
      doing: `give up an upload to "${repository}"`,
      method: 'DELETE',
      target,
      scope: `repository:${repository}:pull,push`,
      // Not every registry can: then it forgets it in time.
      statuses: [204, 400, 401, 403, 404, 405],
      ...options,
    });
    await response.bytes();
  }

  #parse<T>(bytes: Uint8Array, schema: z.ZodType<T>): T {
    try {
      return schema.parse(JSON.parse(Buffer.from(bytes).toString()));
    } catch (cause) {
      const message = `Cannot read an answer of the registry "${this.host}": it is not what the distribution-spec has there`;
      throw new FerryError('REGISTRY_REFUSED', message, { cause });
    }
  }

  #mismatch(what: string, actual: string, wanted: string): FerryError {
    const message = `Cannot use "${what}" of the registry "${this.host}": it has the digest "${actual}", "${wanted}" was wanted`;
    return new FerryError('DIGEST_MISMATCH', message);
  }
}

function mediaTypeOf(response: RegistryResponse): string {
  return response.header('content-type')?.split(';')[0]?.trim() ?? '';
}
