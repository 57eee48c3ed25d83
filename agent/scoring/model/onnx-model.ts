import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import { FerryError, messageOf } from '../../../shared/errors.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { isText, type Tensor } from '../../collect/tensor.ts';

/**
 * A model in ONNX Runtime, on this thread alone: a run holds the thread until it is done, and uses no other.
 * Memory is not given back to the system when a session ends; a process that must give it back has to end.
 */
export class OnnxModel {
  readonly #session: InferenceSession;
  readonly #model: ServiceModel;
  #released = false;

  private constructor(session: InferenceSession, model: ServiceModel) {
    this.#session = session;
    this.#model = model;
  }

  /**
   * Loads a model, which holds the thread for its time.
   * @param path of the file
   * @param options.optimized whether its graph is optimised already, for this machine @default false
   * @param options.light whether runs need so little memory that none is kept for them @default false
   * @throws {FerryError} MODEL_INVALID when it is none that ONNX Runtime can run, or not of the given signature
   */
  static async load(
    path: string,
    model: ServiceModel,
    { optimized = false, light = false }: { readonly optimized?: boolean; readonly light?: boolean } = {},
  ): Promise<OnnxModel> {
    try {
      const session = await InferenceSession.create(path, {
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
    if (!this.#released) void this.#session.release();
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
  async run(feeds: readonly Tensor[]): Promise<Tensor[]> {
    for (const feed of feeds) if (isText(feed.data)) checkTexts(feed.name, feed.data);
    const { name, version, signature } = this.#model;
    try {
      const given: Record<string, OnnxTensor> = {};
      for (const feed of feeds) given[feed.name] = toOnnx(feed);
      const results = await this.#session.run(given);
      return signature.outputs.map((output) => fromOnnx(output.name, results[output.name]));
    } catch (cause) {
      throw new FerryError('SCORING_FAILED', `Cannot score with the model ${name}:${version}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }
}

/** onnxruntime-node 1.30 hands strings over as C does: what is behind a NUL would be cut off in silence. */
function checkTexts(name: string, texts: readonly string[]): void {
  if (!texts.some((text) => text.includes('\0'))) return;
  throw new FerryError(
    'REQUEST_INVALID',
    `Cannot read the input "${name}": it has a string with a NUL character, strings without were wanted`,
  );
}

function toOnnx({ type, data, shape }: Tensor): OnnxTensor {
  // onnxruntime-node 1.30 makes a Float16Array of float16 data, which its own native side then does not know: it takes the raw
  // halves, from an object that looks like a tensor.
  if (data instanceof Float16Array) {
    const halves = new Uint16Array(data.buffer, data.byteOffset, data.length);
    return { type, dims: shape, data: halves, location: 'cpu', size: data.length } as unknown as OnnxTensor;
  }
  // The library's overloads name each type apart; ours is the same list of types with the same arrays.
  return new OnnxTensor(type as 'float32', data as Float32Array, shape);
}

function fromOnnx(name: string, result: OnnxTensor | undefined): Tensor {
  if (result === undefined) throw new Error(`it gave no output "${name}"`);
  return { name, type: result.type as Tensor['type'], shape: result.dims, data: result.data };
}

function checkNames(session: InferenceSession, { signature }: ServiceModel): void {
  const inputs = signature.inputs.map(({ name }) => name);
  const outputs = signature.outputs.map(({ name }) => name);
  const unknown = [
    ...session.inputNames.filter((name) => !inputs.includes(name)),
    ...inputs.filter((name) => !session.inputNames.includes(name)),
    ...outputs.filter((name) => !session.outputNames.includes(name)),
  ];
  if (unknown.length > 0) {
    throw new Error(
      `its inputs and outputs are not those of the signature: ${unknown.map((name) => `"${name}"`).join(', ')}`,
    );
  }
}
