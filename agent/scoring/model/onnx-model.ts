import { type Binding, binding, initOrt } from 'onnxruntime-node/dist/binding.js';
import { FerryError, messageOf } from '../../../shared/errors.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { isText, type Tensor } from '../../collect/tensor.ts';

/**
 * A model in ONNX Runtime, on this thread alone: a run holds the thread until it is done, and uses no other. It is the library's own
 * native session: what the library puts around it waits for a turn of the event loop, which takes longer than a light model's run.
 * Memory is not given back to the system when a session ends; a process that must give it back has to end.
 */
export class OnnxModel {
  readonly #session: Binding.InferenceSession;
  readonly #model: ServiceModel;
  /** All outputs of the signature, which the runtime makes room for. */
  readonly #wanted: Readonly<Record<string, null>>;
  #released = false;

  private constructor(session: Binding.InferenceSession, model: ServiceModel) {
    this.#session = session;
    this.#model = model;
    this.#wanted = Object.fromEntries(model.signature.outputs.map(({ name }) => [name, null]));
  }

  /**
   * Loads a model, which holds the thread for its time.
   * @param path of the file
   * @param options.optimized whether its graph is optimised already, for this machine @default false
   * @param options.light whether runs need so little memory that none is kept for them @default false
   * @throws {FerryError} MODEL_INVALID when it is none that ONNX Runtime can run, or not of the given signature
   */
  static load(
    path: string,
    model: ServiceModel,
    { optimized = false, light = false }: { readonly optimized?: boolean; readonly light?: boolean } = {},
  ): OnnxModel {
    try {
      initOrt();
      const session = new binding.InferenceSession();
      session.loadModel(path, {
        // As many sessions as cores run side by side: threads within one would only take each other's.
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        enableCpuMemArena: !light,
        graphOptimizationLevel: optimized ? 'disabled' : 'all',
        logSeverityLevel: 3,
      });
      checkNames(session, model);
      return new OnnxModel(session, model);
    } catch (cause) {
      throw new FerryError('MODEL_INVALID', `Cannot load the model ${model.name}:${model.version} from "${path}"`, {
        cause,
      });
    }
  }

  /** Gives back what the session holds; much of that stays with the process. */
  release(): void {
    // A second release throws.
    if (!this.#released) this.#session.dispose();
    this.#released = true;
  }

  /** Name, version and signature. */
  get model(): ServiceModel {
    return this.#model;
  }

  /**
   * Runs the model once.
   * @param feeds one a signature's input, in its order
   * @returns one tensor an output, in the signature's order
   * @throws {FerryError} REQUEST_INVALID when a string cannot be handed over
   * @throws {FerryError} SCORING_FAILED when the run fails
   */
  run(feeds: readonly Tensor[]): Tensor[] {
    for (const feed of feeds) if (isText(feed.data)) checkTexts(feed.name, feed.data);
    const { name, version, signature } = this.#model;
    try {
      const given: Record<string, OnnxValue> = {};
      for (const feed of feeds) given[feed.name] = toOnnx(feed);
      const results = this.#session.run(given, this.#wanted, noOptions);
      return signature.outputs.map((output) => fromOnnx(output.name, results[output.name]));
    } catch (cause) {
      throw new FerryError('SCORING_FAILED', `Cannot score with the model ${name}:${version}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }
}

const noOptions = {};

/** What the native side takes for a tensor, and gives as one. */
type OnnxValue = Parameters<Binding.InferenceSession['run']>[0][string];

/** onnxruntime-node 1.30 hands strings over as C does: what is behind a NUL would be cut off in silence. */
function checkTexts(name: string, texts: readonly string[]): void {
  if (!texts.some((text) => text.includes('\0'))) return;
  throw new FerryError(
    'REQUEST_INVALID',
    `Cannot read the input "${name}": it has a string with a NUL character, strings without were wanted`,
  );
}

function toOnnx({ type, data, shape }: Tensor): OnnxValue {
  // The native side of onnxruntime-node 1.30 knows no Float16Array: it takes the raw halves.
  const raw = data instanceof Float16Array ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  return { type, dims: shape, data: raw, location: 'cpu', size: data.length } as unknown as OnnxValue;
}

function fromOnnx(name: string, result: OnnxValue | undefined): Tensor {
  if (result === undefined) throw new Error(`it gave no output "${name}"`);
  const { type, dims, data } = result as unknown as { type: Tensor['type']; dims: number[]; data: Tensor['data'] };
  return { name, type, shape: dims, data };
}

function checkNames(session: Binding.InferenceSession, { signature }: ServiceModel): void {
  const inputs = signature.inputs.map(({ name }) => name);
  const outputs = signature.outputs.map(({ name }) => name);
  const own = {
    inputs: session.inputMetadata.map(({ name }) => name),
    outputs: session.outputMetadata.map(({ name }) => name),
  };
  const unknown = [
    ...own.inputs.filter((name) => !inputs.includes(name)),
    ...inputs.filter((name) => !own.inputs.includes(name)),
    ...outputs.filter((name) => !own.outputs.includes(name)),
  ];
  if (unknown.length > 0) {
    throw new Error(
      `its inputs and outputs are not those of the signature: ${unknown.map((name) => `"${name}"`).join(', ')}`,
    );
  }
}
