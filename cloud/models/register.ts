import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError, isFerryError } from '../../shared/errors.ts';
import { modelNameProblem, modelRepository } from '../../shared/model/name.ts';
import type { Signature } from '../../shared/model/signature.ts';
import type { CopyProgress } from '../../shared/oci/copy-image.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { isLocalRegistry } from '../../shared/oci/registry-address.ts';
import type { StreamedUpload } from '../../shared/oci/streamed-upload.ts';
import { tarLayerParts } from '../../shared/oci/tar-layer.ts';
import { addVersion } from '../workspace/new-version.ts';
import type { WorkspaceRegistry } from '../workspace/registry.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { modelArtifact } from './artifact.ts';
import { layerEntries } from './layer-entries.ts';
import { type InferredShapes, type Loaded, loadOnce } from './load-once.ts';
import { insertModel, isOfContent, mainPathOf, type Model } from './model.ts';
import { addExternalFiles, findModelFiles, mainFile, type ModelFiles, refuseChanged } from './model-files.ts';
import { keepSources, sourcesOf } from './model-sources.ts';
import { pushModel } from './push-model.ts';
import { readSample, type Sample, sampleBytesMax } from './sample.ts';
import { fromRuntimeTensors, toRuntimeTensors } from './sample-tensors.ts';
import { makeServable } from './servable.ts';
import { labelProblems, type Pairs } from './labels.ts';
import { type Lineage, lineageProperties } from './lineage.ts';
import type { RuntimeTensor } from './runtime-process.ts';

/** What is registered, and under which name. */
export interface Registration {
  /** The model's ONNX file, or a folder with one at its top: all of it then belongs to the model. */
  readonly path: string;
  /** Name of the ONNX file in the folder. @default the only one */
  readonly main?: string;
  readonly name: string;
  readonly lineage?: Lineage;
  /** JSON file with a request to score it. */
  readonly sample?: string;
  readonly description?: string;
  readonly tags?: Pairs;
  readonly properties?: Pairs;
}

/** The settings of {@link registerModel}. */
export interface RegisterOptions {
  /** Whether ONNX Runtime is to load the model once. @default true */
  readonly load?: boolean;
  /** The latest version, which is given back where the new one would be the same: of the same bytes, with the same sample. */
  readonly unlessSameAs?: Model;
  /** Where it is pushed to, once it is registered. @default nowhere */
  readonly registry?: WorkspaceRegistry;
  /** Whether only its layer is pushed, while it is packed, for who pushes the artifact soon. @default false */
  readonly pushesLayerOnly?: boolean;
  /** Told why the registered model could not be pushed. */
  readonly onNotPushed?: (reason: FerryError) => void;
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
  const { name, lineage = {}, description = '', tags = {} } = registration;
  checkRegistration(registration);
  const sinceMs = Date.now();
  const found = await findModelFiles(registration.path, registration.main);
  await using servable = await makeServable(workspace, found);
  const {
    shapelessOutputs,
    externalFiles,
    metadata: custom,
    zipMaps: _stripped,
    signature: read,
    ...metadata
  } = servable.read;
  const model = await addExternalFiles(servable.found, externalFiles);
  const { sample: samplePath } = registration;
  const input = samplePath === undefined ? undefined : await readSample(samplePath, read);

  const layout = await LayoutStore.open(workspace.layoutFolder);
  const check = ({ shapes }: Loaded): Signature =>
    completeSignature(read, { shapelessOutputs, shapes, main: found.main });
  const request = input && toRuntimeTensors(input, read);
  const { layer, signature, outputs } = await packModel({ layout, name, model, request, check }, options);
  await refuseChanged(model);
  const sources = sourcesOf({ path: registration.path, found, packed: model, sinceMs });
  const mainPath = mainPathOf(name, model.main);
  const { unlessSameAs: latest } = options;
  if (latest && isOfContent(latest, { digest: layer.digest, mainPath, input })) {
    keepSources(workspace.database, latest, sources);
    return latest;
  }
  const sample = input === undefined ? null : { input, output: outputs ? keptOutput(outputs, signature) : null };

  const content = {
    name,
    mainPath,
    files: model.files.map(({ path, sizeBytes }) => ({ path, sizeBytes })),
    format: 'onnx' as const,
    signature,
    metadata: { ...metadata, custom },
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
    lineage,
    sample,
    description,
    tags,
    properties: propertiesOf(registration, servable.originalDigest),
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
    insert: (version) => insertModel(workspace.database, { ...row, version }, sources),
  });
  const { registry, pushesLayerOnly = false } = options;
  if (registry && !pushesLayerOnly) await pushRegistered({ version, ...row }, { layout, registry }, options);
  return { version, ...row };
}

/** Pushes what is registered: a registry that cannot be reached now gets it with the first image. */
async function pushRegistered(
  model: Model,
  where: { readonly layout: LayoutStore; readonly registry: WorkspaceRegistry },
  { signal, onNotPushed, onProgress }: RegisterOptions,
): Promise<void> {
  const report = ({ totalBytes, presentBytes, movedBytes }: CopyProgress): void =>
    onProgress?.(presentBytes + movedBytes, totalBytes);
  try {
    await pushModel(model, where, { ...(signal && { signal }), onProgress: report });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    onNotPushed?.(error);
  }
}

function checkRegistration(registration: Registration): void {
  const { name, description, tags, properties = {} } = registration;
  const nameProblem = modelNameProblem(name);
  const all = propertiesOf(registration);
  const problems = [
    ...(nameProblem === undefined ? [] : [nameProblem]),
    ...Object.entries(properties)
      .filter(([key, value]) => all[key] !== value)
      .map(([key]) => `the property "${key}" is "${all[key]}" by the lineage and stays so`),
    ...labelProblems({ ...(tags && { tags }), properties: all, ...(description !== undefined && { description }) }),
  ];
  if (problems.length === 0) return;
  const code = nameProblem === undefined ? 'TAG_INVALID' : 'NAME_INVALID';
  throw new FerryError(code, `Cannot register the model: ${problems.join('; ')}`);
}

/** Gives the model's properties: those that were given, its lineage, and what its file was before it was made servable. */
function propertiesOf({ properties = {}, lineage = {} }: Registration, originalDigest?: Digest): Pairs {
  const original = originalDigest === undefined ? {} : { 'original.digest': originalDigest };
  return { ...properties, ...lineageProperties(lineage), ...original };
}

/** Gives what a sample gave, where it is not too large to be kept. */
function keptOutput(outputs: readonly RuntimeTensor[], signature: Signature): Sample['output'] {
  const bytes = outputs.reduce((sum, { data }) => sum + data.length, 0);
  const output = bytes > sampleBytesMax ? undefined : fromRuntimeTensors(outputs, signature);
  return output !== undefined && JSON.stringify(output).length <= sampleBytesMax ? output : null;
}

/** Gives outputs that have no shape in the file the one that the runtime infers. */
function completeSignature(
  { inputs, outputs }: Signature,
  found: { readonly shapelessOutputs: readonly string[]; readonly shapes: InferredShapes; readonly main: string },
): Signature {
  const { shapelessOutputs, shapes, main } = found;
  const unknown = shapelessOutputs.filter((name) => (shapes.get(name) ?? []).length === 0);
  if (unknown.length > 0) {
    const names = unknown.map((name) => `"${name}"`).join(', ');
    throw new FerryError(
      'MODEL_INVALID',
      `Cannot serve "${main}": output ${names} has no shape, neither in the file nor by inference, a number of dimensions was wanted`,
      { next: 'Save the model with the shapes of its outputs, as `onnx.shape_inference` finds them.' },
    );
  }
  const shapeOf = (name: string): (number | string)[] =>
    (shapes.get(name) ?? []).map((dimension) => (dimension === '' || dimension === -1 ? '?' : dimension));
  return {
    inputs,
    outputs: outputs.map((output) =>
      shapelessOutputs.includes(output.name) ? { ...output, shape: shapeOf(output.name) } : output,
    ),
  };
}

/** What is packed, and where to. */
interface Packing {
  readonly layout: LayoutStore;
  readonly name: string;
  readonly model: ModelFiles;
  /** The sample. */
  readonly request: readonly RuntimeTensor[] | undefined;
  /** Gives the signature, or refuses the model for what the runtime says of it. */
  readonly check: (loaded: Loaded) => Signature;
}

/** Packs the model into its layer while the runtime loads it; the layer is kept only when it did. */
async function packModel(
  { layout, name, model, request, check }: Packing,
  options: RegisterOptions,
): Promise<{
  readonly layer: { digest: Digest; size: number };
  readonly signature: Signature;
  readonly outputs: readonly RuntimeTensor[] | undefined;
}> {
  const total = totalBytes(model);
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, ...(options.signal ? [options.signal] : [])]);
  const loading = (
    options.load === false
      ? Promise.resolve<Loaded>({ shapes: new Map() })
      : loadOnce({ file: mainFile(model), sizeBytes: total, request, signal })
  ).then((loaded) => ({ signature: check(loaded), outputs: loaded.outputs }));
  loading.catch((error: unknown) => ended.abort(error));
  await using upload = openUpload(name, options, signal);
  let done = 0;
  try {
    const layer = await layout.putBlob(tarLayerParts(layerEntries(name, model.files)), {
      signal,
      isReadSoon: false,
      alsoTo: async (bytes) => {
        await upload?.add(bytes);
        done += bytes.byteLength;
        options.onProgress?.(Math.min(done, total), total);
      },
      beforeKept: async () => {
        upload?.end();
        await loading;
      },
    });
    await upload?.finish(layer);
    return { layer, ...(await loading) };
  } finally {
    ended.abort();
    await loading.catch(() => undefined);
  }
}

/**
 * Opens an upload that takes the layer while it is packed, where the registry is on this machine: elsewhere the way there is what takes the
 * time, and a push that can go on after a break is worth more.
 */
function openUpload(name: string, { registry }: RegisterOptions, signal: AbortSignal): StreamedUpload | undefined {
  if (registry === undefined || !isLocalRegistry(registry.client.host)) return undefined;
  return registry.client.streamBlob(registry.prefix + modelRepository(name), signal);
}

function totalBytes({ files }: ModelFiles): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
