import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { readGraph } from './graph-nodes.ts';
import { openSession } from './onnx-session.ts';
import { placeNodes } from './placement.ts';
import { type Accelerator, type RuntimeServerOptions, startRuntimeServer } from './runtime-server.ts';

/** The settings of {@link startAccelerator}. */
export interface AcceleratorOptions extends Omit<RuntimeServerOptions, 'model' | 'name' | 'version'> {
  /** The ONNX file; a card has one model at a time. */
  readonly modelFile: string;
  /** @default the file's, without its ending */
  readonly name?: string | undefined;
  /** @default '1' */
  readonly version?: string | undefined;
  /** Operators that the card has not, as `Softmax`. @default it has all */
  readonly unsupported?: readonly string[] | undefined;
}

/**
 * Starts a runtime with a simulated card, which speaks the Open Inference Protocol over REST, JSON and binary tensors. All that it says
 * of the model, and every answer, has the parameter `simulated: true`.
 * @throws {FerryError} MODEL_INVALID, PORT_IN_USE
 */
export async function startAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  const { modelFile, unsupported = [], name = basename(modelFile, '.onnx'), version = '1', ...server } = options;
  const model = await load(modelFile, new Set(unsupported));
  return await startRuntimeServer({ ...server, name, version, model });
}

async function load(modelFile: string, unsupported: ReadonlySet<string>): Promise<RuntimeServerOptions['model']> {
  try {
    const placement = placeNodes(readGraph(await readFile(modelFile)), unsupported);
    return { ...(await openSession(modelFile)), placement };
  } catch (cause) {
    throw new FerryError('MODEL_INVALID', `Cannot put "${modelFile}" onto the simulated accelerator`, { cause });
  }
}
