import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { modelNameProblem, modelRepository } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { type LayerEntry, tarLayer } from '../../shared/oci/tar-layer.ts';
import { addVersion } from '../workspace/new-version.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { modelArtifact } from './artifact.ts';
import { loadOnce } from './load-once.ts';
import { insertModel, type Model } from './model.ts';
import { addExternalFiles, findModelFiles, type ModelFiles, refuseChanged } from './model-files.ts';
import { readOnnx } from './onnx.ts';
import { labelProblems, type Pairs } from './labels.ts';

/** What is registered, and under which name. */
export interface Registration {
  /** The model's ONNX file, or a folder with one at its top: all of it then belongs to the model. */
  readonly path: string;
  /** Name of the ONNX file in the folder. @default the only one */
  readonly main?: string;
  readonly name: string;
  readonly description?: string;
  readonly tags?: Pairs;
  readonly properties?: Pairs;
}

/** The settings of {@link registerModel}. */
export interface RegisterOptions {
  /** Whether ONNX Runtime is to load the model once. @default true */
  readonly load?: boolean;
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
  const found = await findModelFiles(registration.path, registration.main);
  const { signature, externalFiles, metadata: custom, ...rest } = readOnnx(join(found.folder, found.main));
  const model = await addExternalFiles(found, externalFiles);

  const layout = await LayoutStore.open(workspace.layoutFolder);
  const layer = await packModel(layout, name, model, options);
  await refuseChanged(model);

  const content = {
    name,
    mainPath: `/models/${name}/${model.main}`,
    files: model.files.map(({ path, sizeBytes }) => ({ path, sizeBytes })),
    format: 'onnx' as const,
    signature,
    metadata: { ...rest, custom },
  };
  const artifact = modelArtifact(content, layer);
  await layout.putBlob(artifact.config);
  const repository = modelRepository(name);
  const createdAt = new Date(clock.nowMs()).toISOString();
  const row = {
    ...content,
    digest: layer.digest,
    sizeBytes: totalBytes(model),
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
    insert: (version) => insertModel(workspace.database, { ...row, version }),
  });
  return { version, ...row };
}

function checkRegistration({ name, ...labels }: Omit<Registration, 'path' | 'main'>): void {
  const nameProblem = modelNameProblem(name);
  const problems = labelProblems(labels);
  if (nameProblem === undefined && problems.length === 0) return;
  const all = [...(nameProblem === undefined ? [] : [nameProblem]), ...problems].join('; ');
  throw new FerryError(nameProblem === undefined ? 'TAG_INVALID' : 'NAME_INVALID', `Cannot register the model: ${all}`);
}

/** Packs the model into its layer while the runtime loads it; the layer is kept only when it did. */
async function packModel(
  layout: LayoutStore,
  name: string,
  model: ModelFiles,
  options: RegisterOptions,
): Promise<{ digest: Digest; size: number }> {
  const total = totalBytes(model);
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, ...(options.signal ? [options.signal] : [])]);
  const loading =
    options.load === false
      ? Promise.resolve()
      : loadOnce({ file: join(model.folder, model.main), sizeBytes: total, signal });
  loading.catch((error: unknown) => ended.abort(error));
  const entries = model.files.map(({ path, sizeBytes }): LayerEntry => {
    const content = { file: join(model.folder, path), size: sizeBytes };
    return { kind: 'file', path: `/models/${name}/${path}`, content };
  });
  async function* packed(): AsyncGenerator<Uint8Array> {
    let done = 0;
    for await (const piece of tarLayer(entries)) {
      yield piece;
      done += piece.byteLength;
      options.onProgress?.(Math.min(done, total), total);
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

function totalBytes({ files }: ModelFiles): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
