import { createWriteStream, existsSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { childrenOf, encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { type LayerEntry, tarLayer } from '../../shared/oci/tar-layer.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { Image } from './image.ts';

/** The settings of {@link exportImage}. */
export interface ExportOptions {
  /** File to write. */
  readonly output: string;
  /** Whether a file that is there already is replaced. @default false */
  readonly overwrite?: boolean;
  readonly signal?: AbortSignal;
  /** Told how much is written, in bytes. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes an image as an OCI archive: an image layout in one tar file, for a machine that has no way to the registry. The file is there
 * only when it is whole; the same image gives the same bytes. `docker load` of version 25 or later, `podman load` and `skopeo` read it.
 * @returns the file's absolute path and size
 * @throws {FerryError} FILE_EXISTS when there is such a file already, unless it may be replaced
 * @throws {FerryError} WORKSPACE_CORRUPT when a part of the image is missing
 * @throws {FerryError} DISK_FULL when there is no room for it
 * @see OCI image-spec 1.1, image-layout.md
 */
export async function exportImage(
  workspace: Workspace,
  image: Image,
  options: ExportOptions,
): Promise<{ readonly file: string; readonly sizeBytes: number }> {
  const file = resolve(options.output);
  if (existsSync(file) && options.overwrite !== true) {
    throw new FerryError('FILE_EXISTS', `Cannot export "${image.name}:${image.version}": "${file}" is there already`, {
      next: 'Name another file with --output, or add --overwrite.',
    });
  }
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const entries = await archiveEntries(layout, image);
  const total = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
  const aside = `${file}.${process.pid}.tmp`;
  let sizeBytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of tarLayer(entries)) {
      sizeBytes += piece.byteLength;
      options.onProgress?.(Math.min(sizeBytes, total), total);
      yield piece;
    }
  }
  try {
    const { signal } = options;
    await pipeline(counted(), createWriteStream(aside, { flags: 'wx' }), signal === undefined ? {} : { signal });
    await syncFile(aside);
    await rename(aside, file);
    await syncFolder(dirname(file));
  } catch (error) {
    await rm(aside, { force: true });
    throw writeFailure(error, `write "${file}"`);
  }
  return { file, sizeBytes };
}

/** Gives the files of an image layout that holds this image alone, under its id as its name. */
async function archiveEntries(layout: LayoutStore, image: Image): Promise<readonly LayerEntry[]> {
  const blobs = new Map<string, Descriptor>();
  const add = async (digest: Image['digest']): Promise<Descriptor> => {
    const document = await layout.readManifest(image.name, digest);
    if (document === undefined) throw missing(image, digest);
    const { blobs: children, manifests } = childrenOf(document);
    for (const child of [document.descriptor, ...children]) blobs.set(child.digest, child);
    for (const child of manifests) await add(child.digest);
    return document.descriptor;
  };
  const root = await add(image.digest);
  const name = `${image.name}:${image.version}`;
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ ...root, annotations: { 'org.opencontainers.image.ref.name': name } }],
  };
  const files = [...blobs.values()].map(async ({ digest, size }): Promise<LayerEntry> => {
    if ((await layout.blobSize(digest)) !== size) throw missing(image, digest);
    const path = `blobs/${digest.replace(':', '/')}`;
    return { kind: 'file', path, content: { file: layout.blobPath(digest), size } };
  });
  return [
    { kind: 'file', path: 'oci-layout', content: encodeJson({ imageLayoutVersion: '1.0.0' }) },
    { kind: 'file', path: 'index.json', content: encodeJson(index) },
    ...(await Promise.all(files)),
  ];
}

function sizeOf(entry: LayerEntry): number {
  if (entry.kind !== 'file') return 0;
  return entry.content instanceof Uint8Array ? entry.content.byteLength : entry.content.size;
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

function missing({ name, version }: Image, digest: string): FerryError {
  return new FerryError('WORKSPACE_CORRUPT', `Cannot export "${name}:${version}": its part "${digest}" is missing`, {
    next: 'Build it again.',
  });
}
