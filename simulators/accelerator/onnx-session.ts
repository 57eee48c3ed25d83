import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type CardModel, describeTensor, onnxTypeOf, type TensorMetadata } from './card-model.ts';
import type { WireTensor } from './tensors.ts';

/**
 * Opens a model in ONNX Runtime, which computes its integers as a card would.
 * @throws {Error} when it cannot be run, or leaves a dimension open
 */
export async function openSession(path: string): Promise<Omit<CardModel, 'placement'>> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const inputs = session.inputMetadata.map(describe);
  const outputs = session.outputMetadata.map(describe);
  return {
    inputs,
    outputs,
    run: async (given) => {
      const results = await session.run(Object.fromEntries(given.map((tensor) => [tensor.name, toRuntime(tensor)])));
      return outputs.map(({ name, datatype }) => {
        const result = results[name];
        if (result === undefined) throw new Error(`the run gave no "${name}"`);
        return { name, datatype, shape: result.dims, data: result.data as WireTensor['data'] };
      });
    },
    close: async () => await session.release(),
  };
}

function describe(value: InferenceSession.ValueMetadata): TensorMetadata {
  if (!value.isTensor) throw new Error(`"${value.name}" is no tensor`);
  return describeTensor(value.name, value.type, value.shape);
}

function toRuntime({ datatype, data, shape }: WireTensor): Tensor {
  // The library's overloads name each type apart; ours is the same list of types with the same arrays.
  return new Tensor(onnxTypeOf(datatype) as 'float32', data as Float32Array, shape);
}
