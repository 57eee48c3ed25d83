import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError } from '../../shared/errors.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { verified } from '../../shared/oci/verified.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { Model } from './model.ts';

/** The settings of {@link downloadModel}. */
export interface DownloadOptions {
  /** Folder that the model's files are put into; made where there is none. */
  readonly target: string;
  /** Whether files that are there already are replaced. @default false */
  readonly overwrite?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Writes a model's files into a folder. They appear there only when all of them are whole.
 * @returns the files' absolute paths
 * @throws {FerryError} FILE_EXISTS naming the files that are there already, unless they may be replaced
 * @throws {FerryError} WORKSPACE_CORRUPT or DIGEST_MISMATCH when the stored layer is missing or damaged
 * @throws {FerryError} DISK_FULL when there is no room for it
 */
export async function downloadModel(
  workspace: Workspace,
  model: Model,
  options: DownloadOptions,
): Promise<readonly string[]> {
  const target = resolve(options.target);
  const paths = model.files.map(({ path }) => join(target, path));
  const there = paths.filter((path) => existsSync(path));
  if (there.length > 0 && options.overwrite !== true) {
    throw new FerryError(
      'FILE_EXISTS',
      `Cannot download "${model.name}:${model.version}": ${there.join(', ')} is there already`,
      {
        next: 'Name another folder with --target, or add --overwrite.',
      },
    );
  }
  const aside = join(target, `.ferry-download-${process.pid}`);
  try {
    await mkdir(aside, { recursive: true });
    await unpack(workspace, model, aside, options.signal);
    for (const { path } of model.files) {
      await mkdir(dirname(join(target, path)), { recursive: true });
      await rename(join(aside, path), join(target, path));
    }
    await syncFolder(target);
  } catch (error) {
    throw writeFailure(error, `write to "${target}"`);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return paths;
}

/** Unpacks the model's layer into a folder; exactly the files that the model has, whole and durable. */
async function unpack(
  workspace: Workspace,
  model: Model,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const size = await layout.blobSize(model.digest);
  const missing = new Set(model.files.map(({ path }) => path));
  if (size !== undefined) {
    const bytes = verified(await layout.openBlob(model.digest), { digest: model.digest, size }, 'the workspace');
    const entries = extract();
    const reading = pipeline(bytes, entries, signal === undefined ? {} : { signal });
    reading.catch(() => undefined);
    for await (const entry of entries) {
      const path = entry.header.name.slice(`models/${model.name}/`.length);
      if (entry.header.type === 'file' && missing.delete(path)) await writeWhole(join(folder, path), entry);
      else entry.resume();
    }
    await reading;
  }
  if (missing.size === 0) return;
  throw new FerryError(
    'WORKSPACE_CORRUPT',
    `Cannot download "${model.name}:${model.version}": ${[...missing].join(', ')} is missing in "${layout.folder}"`,
  );
}

async function writeWhole(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, 'wx');
  await file.writeFile(content);
  await file.sync();
}
