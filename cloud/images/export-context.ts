import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError } from '../../shared/errors.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import type { ImageConfig } from '../../shared/oci/image-config.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { Manifest, ManifestDocument } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { readImageConfig } from '../../shared/oci/unpack-image.ts';
import { unpackLayer } from '../../shared/oci/unpack-layer.ts';
import { verified } from '../../shared/oci/verified.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { dockerfile, type DockerfileBase, type DockerfileCopy } from './dockerfile.ts';
import type { ExportOptions } from './export.ts';
import type { Image, ImageLayer } from './image.ts';

/** What is read of an image for one platform. */
interface PlatformImage {
  readonly architecture: string;
  readonly config: NonNullable<ImageConfig['config']>;
  readonly manifest: Manifest;
  readonly layers: readonly ImageLayer[];
}

/**
 * Writes an image as a Dockerfile with its context, for those who build with tools of their own: the files of its layers, in folders named
 * for what they are. A base that was pulled is named by its digest and not written. The folder is there only when it is whole.
 * @returns the folder's absolute path and the size of the layers that were written, in bytes
 * @throws {FerryError} FILE_EXISTS when there is something of that name already
 * @throws {FerryError} WORKSPACE_CORRUPT or IMAGE_NOT_FOUND when a part of the image is missing
 * @throws {FerryError} DISK_FULL when there is no room for it
 */
export async function exportContext(
  workspace: Workspace,
  image: Image,
  options: Omit<ExportOptions, 'overwrite'>,
): Promise<{ readonly file: string; readonly sizeBytes: number }> {
  const folder = resolve(options.output);
  const id = `${image.name}:${image.version}`;
  if (existsSync(folder)) {
    throw new FerryError('FILE_EXISTS', `Cannot export "${id}": "${folder}" is there already`, {
      next: 'Name another folder with --output, or remove that one.',
    });
  }
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const platforms = await readPlatforms(layout, image);
  const aside = `${folder}.${process.pid}.tmp`;
  try {
    const writer = new ContextWriter(layout, aside, options);
    const copies = await writer.write(platforms);
    const [first] = platforms;
    const bases = platforms.map(baseOf) as [DockerfileBase, ...DockerfileBase[]];
    const title = `The image ${id} (${image.digest}), to be built by: docker build .`;
    await writeFile(join(aside, 'Dockerfile'), dockerfile({ title, bases, copies, config: first.config }));
    await syncFolder(aside);
    await rename(aside, folder);
    await syncFolder(dirname(folder));
    return { file: folder, sizeBytes: writer.writtenBytes };
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw writeFailure(error, `write "${folder}"`);
  }
}

/** Unpacks layers into a context, each once. */
class ContextWriter {
  readonly #layout: LayoutStore;
  readonly #folder: string;
  readonly #options: Pick<ExportOptions, 'signal' | 'onProgress'>;
  writtenBytes = 0;

  constructor(layout: LayoutStore, folder: string, options: Pick<ExportOptions, 'signal' | 'onProgress'>) {
    this.#layout = layout;
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * Writes the layers: base and engine into folders of their own, by architecture where there are several; what is the same for all platforms at
   * the top, where it reads as it lies in the image.
   */
  async write(platforms: readonly PlatformImage[]): Promise<readonly DockerfileCopy[]> {
    const several = platforms.length > 1;
    const wanted = platforms.flatMap(({ architecture, layers }, at) =>
      layers.flatMap((layer) => {
        if (layer.kind === 'model' || layer.kind === 'app') return at === 0 ? [{ layer, into: '.' }] : [];
        if (layer.kind === 'base' && isPulled(platforms[at])) return [];
        return [{ layer, into: several ? `${layer.kind}-${architecture}` : layer.kind }];
      }),
    );
    const totalBytes = wanted.reduce((sum, { layer }) => sum + layer.sizeBytes, 0);
    for (const { layer, into } of wanted) {
      await this.#unpack(layer, join(this.#folder, into));
      this.writtenBytes += layer.sizeBytes;
      this.#options.onProgress?.(this.writtenBytes, totalBytes);
    }
    const own = new Set(wanted.map(({ into }) => into));
    const shared = (await readdir(this.#folder)).filter((name) => !own.has(name)).sort();
    const kinds = ['base', 'engine'].filter((kind) =>
      [...own].some((name) => name === kind || name.startsWith(`${kind}-`)),
    );
    return [
      ...kinds.map((kind) => ({ from: several ? `${kind}-\${TARGETARCH}/` : `${kind}/`, to: '/' })),
      ...shared.map((name) => ({ from: `${name}/`, to: `/${name}/` })),
    ];
  }

  async #unpack({ digest, sizeBytes, mediaType = mediaTypes.layer }: ImageLayer, into: string): Promise<void> {
    await mkdir(into, { recursive: true });
    const source = verified(
      await this.#layout.openBlob(digest),
      { digest, size: sizeBytes },
      `the layout "${this.#layout.folder}"`,
    );
    const { signal } = this.#options;
    await unpackLayer(source, into, { mediaType, ...(signal && { signal }) });
  }
}

const baseAnnotations = {
  name: 'org.opencontainers.image.base.name',
  digest: 'org.opencontainers.image.base.digest',
} as const;

function isPulled(platform: PlatformImage | undefined): boolean {
  return platform?.manifest.annotations?.[baseAnnotations.digest] !== undefined;
}

function baseOf({ architecture, manifest }: PlatformImage): DockerfileBase {
  const { [baseAnnotations.name]: name = '', [baseAnnotations.digest]: digest } = manifest.annotations ?? {};
  // A name by tag and digest is understood, and the digest is what counts.
  return { architecture, reference: digest === undefined ? 'scratch' : `${name}@${digest}` };
}

async function readPlatforms(layout: LayoutStore, image: Image): Promise<[PlatformImage, ...PlatformImage[]]> {
  const root = await readManifest(layout, image, image.digest);
  const children = root.kind === 'index' ? root.index.manifests.map(({ digest }) => digest) : [image.digest];
  const platforms: PlatformImage[] = [];
  for (const digest of children) {
    const document = await readManifest(layout, image, digest);
    if (document.kind === 'index') throw new Error('An index lists an index');
    const config = await readImageConfig(layout, document);
    const { os, architecture } = config;
    const layers = image.layers.filter(
      ({ platform }) => platform === undefined || platform === `${os}/${architecture}`,
    );
    platforms.push({ architecture, config: config.config ?? {}, manifest: document.manifest, layers });
  }
  return platforms as [PlatformImage, ...PlatformImage[]];
}

async function readManifest(layout: LayoutStore, image: Image, digest: Image['digest']): Promise<ManifestDocument> {
  const document = await layout.readManifest(image.name, digest);
  if (document !== undefined) return document;
  const id = `${image.name}:${image.version}`;
  throw new FerryError('WORKSPACE_CORRUPT', `Cannot export "${id}": its part "${digest}" is missing`, {
    next: 'Build it again.',
  });
}
