import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { writeDurably } from '../../shared/durable-file.ts';
import { systemCodeOf } from '../../shared/errors.ts';
import { digestSchema } from '../../shared/oci/descriptor.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { type LayerEntry, tarLayerParts } from '../../shared/oci/tar-layer.ts';
import { type Component, componentSchema } from './sbom.ts';

/** What a layer is made of. */
export interface LayerContent {
  readonly entries: readonly LayerEntry[];
  /** Absolute paths of all files that the entries follow from; while none of them changes, the layer stays as it is. */
  readonly inputs: readonly string[];
  /** What in it was made elsewhere. */
  readonly components: readonly Component[];
}

/** A layer that is in the layout. */
export interface StoredLayer {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly components: readonly Component[];
  /** Whether it was packed just now; else it was there already. */
  readonly made: boolean;
}

/** The settings of {@link LayerCache.layer}. */
export interface CachedLayerOptions {
  /** Everything that the layer follows from beside its input files: what it is for, platform, paths of programs. */
  readonly key: readonly string[];
  /** Makes the content; called only when it is not known to be the same as before. */
  readonly make: () => Promise<LayerContent>;
  readonly signal?: AbortSignal;
}

/** To be raised when the same inputs make another layer than before. */
const recipeVersion = 2;

/** How an input looked when the layer was made; a file that was replaced or written differs in one of these. */
const inputSchema = z.strictObject({ path: z.string(), bytes: z.number(), changedMs: z.number(), inode: z.number() });
type Input = z.infer<typeof inputSchema>;

const recordSchema = z.strictObject({
  digest: digestSchema,
  sizeBytes: z.int().nonnegative(),
  components: z.array(componentSchema).readonly(),
  inputs: z.array(inputSchema),
});
type Known = Omit<StoredLayer, 'made'>;

/**
 * Layers that follow from files of this machine, made once: as long as no input changes, a layer is found by looking at its
 * inputs' sizes and times, and nothing is read, hashed or written. Records that are missing or damaged only cost time.
 */
export class LayerCache {
  readonly #folder: string;
  readonly #layout: LayoutStore;

  /** @param folder where the records are kept; made when the first one is */
  constructor(folder: string, layout: LayoutStore) {
    this.#folder = folder;
    this.#layout = layout;
  }

  /**
   * Gives a layer, from before where its inputs are as they were.
   * @throws {FerryError} DISK_FULL when there is no room for it; nothing is left behind then
   */
  async layer(options: CachedLayerOptions): Promise<StoredLayer> {
    const { key, make, signal } = options;
    const record = join(
      this.#folder,
      `${digestOf(JSON.stringify([recipeVersion, ...key])).slice('sha256:'.length)}.json`,
    );
    const known = await this.#find(record);
    if (known !== undefined) return { ...known, made: false };

    const startedMs = Date.now();
    const { entries, inputs, components } = await make();
    const stored = { ...(await storeLayer(this.#layout, entries, signal)), components };
    const looked = await Promise.all([...new Set(inputs)].sort().map(look));
    // What was written while it was read may be in the layer as it was before: such a layer is made again the next time.
    if (looked.every(({ changedMs }) => changedMs < startedMs)) {
      await this.#record(record, { ...stored, inputs: looked });
    }
    return { ...stored, made: true };
  }

  async #record(path: string, record: z.infer<typeof recordSchema>): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeDurably(path, JSON.stringify(record));
    } catch (error) {
      throw writeFailure(error, `write "${path}"`);
    }
  }

  async #find(record: string): Promise<Known | undefined> {
    const text = await readFile(record, 'utf8').catch(() => '');
    const { data } = recordSchema.safeParse(parseJson(text));
    if (data === undefined) return undefined;
    // While the image is put together nothing refers to the layer; made young, it is no garbage meanwhile.
    if (!(await this.#layout.renewBlob({ digest: data.digest, size: data.sizeBytes }))) return undefined;
    const now = await Promise.all(data.inputs.map(({ path }) => look(path)));
    const same = data.inputs.every((before, at) => isSame(before, now[at]));
    return same ? { digest: data.digest, sizeBytes: data.sizeBytes, components: data.components } : undefined;
  }
}

/**
 * Packs a layer into the layout.
 * @throws {FerryError} DISK_FULL when there is no room for it; nothing is left behind then
 */
async function storeLayer(
  layout: LayoutStore,
  entries: Iterable<LayerEntry>,
  signal: AbortSignal | undefined,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const { digest, size } = await layout.putBlob(tarLayerParts(entries), signal === undefined ? {} : { signal });
  return { digest, sizeBytes: size };
}

async function look(path: string): Promise<Input> {
  try {
    const { size, mtimeMs, ino } = await stat(path);
    return { path, bytes: size, changedMs: mtimeMs, inode: ino };
  } catch (error) {
    // An input that is not there, such as the loader's cache, must go on not being there.
    if (systemCodeOf(error) === 'ENOENT') return { path, bytes: -1, changedMs: 0, inode: 0 };
    throw error;
  }
}

function isSame(before: Input, now: Input | undefined): boolean {
  return before.bytes === now?.bytes && before.changedMs === now.changedMs && before.inode === now.inode;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
