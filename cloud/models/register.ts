import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { modelNameProblem, modelRepository } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { tarLayer } from '../../shared/oci/tar-layer.ts';
import { addVersion } from '../workspace/new-version.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { modelArtifact } from './artifact.ts';
import { loadOnce } from './load-once.ts';
import { insertModel, type Model } from './model.ts';
import { readOnnx } from './onnx.ts';
import { labelProblems, type Pairs } from './labels.ts';

/** What is registered, and under which name. */
export interface Registration {
  /** The model's file. */
  readonly file: string;
  readonly name: string;
  readonly description?: string;
  readonly tags?: Pairs;
  readonly properties?: Pairs;
}

/** The settings of {@link registerModel}. */
export interface RegisterOptions {
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Told how much is packed, in bytes. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Registers a model as the next version of its name: reads its signature, has ONNX Runtime load it once, and keeps it as an OCI
 * artifact of one layer. A failure at any moment leaves no version behind.
 * @throws {FerryError} NAME_INVALID or TAG_INVALID naming everything that is outside of the rules
 * @throws {FerryError} FILE_NOT_FOUND or FILE_UNREADABLE when the file is not there or cannot be read
 * @throws {FerryError} MODEL_INVALID when it is no ONNX model, or the runtime does not load it
 * @throws {FerryError} DISK_FULL when there is no room for it
 */
export async function registerModel(
  workspace: Workspace,
  registration: Registration,
  options: RegisterOptions = {},
): Promise<Model> {
  const { clock = systemClock, signal } = options;
  const { name, description = '', tags = {}, properties = {} } = registration;
  checkRegistration({ name, description, tags, properties });
  const file = resolve(registration.file);
  const before = await lookAt(file);
  const { signature, externalFiles, metadata: custom, ...rest } = readOnnx(file);
  refuseExternal(file, externalFiles);

  const layout = await LayoutStore.open(workspace.layoutFolder);
  const path = `/models/${name}/${basename(file)}`;
  const layer = await packModel(layout, { file, path, sizeBytes: before.size }, options);
  const after = await lookAt(file);
  if (after.mtimeMs !== before.mtimeMs || after.ino !== before.ino) {
    throw new FerryError('FILE_UNREADABLE', `Cannot register "${file}": it was changed meanwhile`);
  }

  const content = {
    name,
    mainPath: path,
    files: [{ path: basename(file), sizeBytes: before.size }],
    format: 'onnx' as const,
    signature,
    metadata: { ...rest, custom },
  };
  const artifact = modelArtifact(content, layer);
  await layout.putBlob(artifact.config);
  const repository = modelRepository(name);
  const createdAt = new Date(clock.nowMs()).toISOString();
  const model = {
    ...content,
    digest: layer.digest,
    sizeBytes: before.size,
    artifactDigest: digestOf(artifact.manifest),
    description,
    tags,
    properties,
    createdAt,
    modifiedAt: createdAt,
  };
  const version = await addVersion(workspace, {
    kind: 'model',
    name,
    ...(signal && { signal }),
    prepare: async (version) => {
      await layout.putManifest(repository, String(version), artifact.manifest, mediaTypes.manifest);
    },
    insert: (version) => insertModel(workspace.database, { ...model, version }),
  });
  return { version, ...model };
}

function checkRegistration({ name, ...labels }: Omit<Registration, 'file'>): void {
  const nameProblem = modelNameProblem(name);
  const problems = labelProblems(labels);
  if (nameProblem === undefined && problems.length === 0) return;
  const all = [...(nameProblem === undefined ? [] : [nameProblem]), ...problems].join('; ');
  throw new FerryError(nameProblem === undefined ? 'TAG_INVALID' : 'NAME_INVALID', `Cannot register the model: ${all}`);
}

async function lookAt(file: string): Promise<{ size: number; mtimeMs: number; ino: number }> {
  const status = await stat(file).catch((cause: unknown) => {
    const code = systemCodeOf(cause) === 'ENOENT' ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE';
    throw new FerryError(
      code,
      `Cannot register "${file}": ${code === 'FILE_NOT_FOUND' ? 'there is no such file' : 'it cannot be read'}`,
      {
        cause,
      },
    );
  });
  if (!status.isFile())
    throw new FerryError('MODEL_INVALID', `Cannot register "${file}": it is no file, an ONNX file was wanted`);
  return status;
}

function refuseExternal(file: string, externalFiles: readonly string[]): void {
  if (externalFiles.length === 0) return;
  const names = externalFiles.map((name) => `"${name}"`).join(', ');
  throw new FerryError(
    'MODEL_INVALID',
    `Cannot register "${basename(file)}": its weights are outside of it, in ${names}, one file was wanted`,
    { next: 'Save the model with its weights inside: `onnx.save(model, path, save_as_external_data=False)`.' },
  );
}

/** Packs the model into its layer while the runtime loads it; the layer is kept only when it did. */
async function packModel(
  layout: LayoutStore,
  model: { readonly file: string; readonly path: string; readonly sizeBytes: number },
  options: RegisterOptions,
): Promise<{ digest: Digest; size: number }> {
  const { file, path, sizeBytes } = model;
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, ...(options.signal ? [options.signal] : [])]);
  const loading = loadOnce({ file, sizeBytes, signal });
  loading.catch((error: unknown) => ended.abort(error));
  async function* packed(): AsyncGenerator<Uint8Array> {
    let done = 0;
    for await (const piece of tarLayer([{ kind: 'file', path, content: { file, size: sizeBytes } }])) {
      yield piece;
      done += piece.byteLength;
      options.onProgress?.(Math.min(done, sizeBytes), sizeBytes);
    }
    // The layout keeps nothing of a source that fails.
    await loading;
  }
  try {
    return await layout.putBlob(packed(), { signal });
  } finally {
    ended.abort();
    await loading.catch(() => undefined);
  }
}
