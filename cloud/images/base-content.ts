import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { writeDurably } from '../../shared/durable-file.ts';
import { FerryError, isFerryError } from '../../shared/errors.ts';
import { decompressor } from '../../shared/oci/layer-compression.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { nodePath } from './base-layer.ts';
import type { ImageLayer } from './image.ts';

/** The most entries of a base that are looked at; the largest images have some hundred thousand. */
const entriesMax = 2_000_000;

/** What is looked into. */
export interface BaseContentOptions {
  /** Where what was found is kept, so that a base is read once. */
  readonly cacheFolder: string;
  readonly signal?: AbortSignal;
}

/**
 * Looks into the layers of a base, and says what it lacks that every image needs: Node where the scoring server is started by it, and glibc, which
 * Node, ONNX Runtime and SQLite are built for. Reads the layers once.
 * @throws {FerryError} IMAGE_INVALID when a layer cannot be read
 */
export async function baseProblems(
  layout: LayoutStore,
  layers: readonly ImageLayer[],
  { cacheFolder, signal }: BaseContentOptions,
): Promise<readonly string[]> {
  const name = createHash('sha256')
    .update(layers.map(({ digest }) => digest).join())
    .digest('hex');
  const record = join(cacheFolder, name);
  if (existsSync(record)) return [];
  const content = new BaseContent();
  for (const layer of layers) await content.add(layout, layer, signal);
  const problems = content.problems();
  if (problems.length > 0) return problems;
  await mkdir(cacheFolder, { recursive: true });
  await writeDurably(record, '');
  return [];
}

/** The paths of a base that matter, after its layers so far. */
class BaseContent {
  readonly #paths = new Set<string>();
  #entries = 0;

  async add(
    layout: LayoutStore,
    { digest, mediaType = mediaTypes.layer }: ImageLayer,
    signal?: AbortSignal,
  ): Promise<void> {
    const tar = extract();
    const through = decompressor(mediaType);
    const source = Readable.from(await layout.openBlob(digest));
    const options = signal === undefined ? {} : { signal };
    const feeding = (
      through === undefined ? pipeline(source, tar, options) : pipeline(source, through, tar, options)
    ).catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw new FerryError('IMAGE_INVALID', `Cannot read the layer "${digest}": it is no tar`, { cause });
    });
    feeding.catch(() => undefined);
    const own = new Set<string>();
    try {
      for await (const entry of tar) {
        this.#take(posix.normalize(entry.header.name).replace(/^\/+|\/+$/g, ''), own);
        entry.resume();
      }
    } catch (error) {
      if (isFerryError(error)) throw error;
    }
    await feeding;
    for (const path of own) this.#paths.add(path);
  }

  problems(): string[] {
    const paths = [...this.#paths];
    const has = (pattern: RegExp): boolean => paths.some((path) => pattern.test(path));
    return [
      ...(this.#paths.has(nodePath.slice(1)) ? [] : [`it has no "${nodePath}", Node was wanted there`]),
      ...(has(loaders.glibc)
        ? []
        : [`${has(loaders.musl) ? 'it is built on musl' : 'it has no C library'}, glibc was wanted`]),
    ];
  }

  #take(path: string, own: Set<string>): void {
    this.#entries += 1;
    if (this.#entries > entriesMax) {
      throw new FerryError('IMAGE_INVALID', `Cannot read a base: it has over ${entriesMax} entries`);
    }
    const folder = posix.dirname(path);
    const name = posix.basename(path);
    // OCI image-spec 1.1, layer.md, "Whiteouts": they are for the layers below.
    if (name === '.wh..wh..opq') this.#remove(folder);
    else if (name.startsWith('.wh.')) this.#remove(posix.join(folder, name.slice('.wh.'.length)));
    else if (path === nodePath.slice(1) || loaders.glibc.test(path) || loaders.musl.test(path)) own.add(path);
  }

  #remove(removed: string): void {
    for (const path of this.#paths) {
      if (path === removed || path.startsWith(`${removed}/`)) this.#paths.delete(path);
    }
  }
}

/** The loader that each C library is known by. */
const loaders = { glibc: /(^|\/)ld-linux-[a-z0-9-]+\.so\.\d+$/, musl: /(^|\/)ld-musl-[a-z0-9_]+\.so\.\d+$/ };
