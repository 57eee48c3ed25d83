import type { TensorSpec } from '../../../shared/model/signature.ts';
import { productVersion } from '../../../shared/version.ts';
import type { AcceleratorReport } from '../accelerator/accelerator-report.ts';
import type { Scorer } from '../scorer.ts';
import type { ServedModels } from '../served-models.ts';
import { datatypeOf } from './infer-datatype.ts';

/** What the Open Inference Protocol says of the server. */
export const serverMetadata = {
  name: 'modelferry',
  version: productVersion,
  extensions: ['binary_tensor_data'],
};

/** What the Open Inference Protocol says of a tensor; -1 stands for a dimension that is open. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** What the Open Inference Protocol says of a model. */
export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  /** Of the accelerator that runs it, where one does: in its runtime's words, and whether it is ready. */
  readonly parameters?: object;
}

/** Describes a model by its signature. */
export function metadataOf({ model, accelerator }: Scorer, models: ServedModels): ModelMetadata {
  const { name, signature } = model;
  return {
    name,
    versions: models.versions(name),
    platform: 'onnxruntime_onnx',
    inputs: signature.inputs.map(tensorMetadata),
    outputs: signature.outputs.map(tensorMetadata),
    ...(accelerator !== undefined && { parameters: parametersOf(accelerator) }),
  };
}

function parametersOf({ ready, reason, placement }: AcceleratorReport): object {
  return { ...placement, accelerator_ready: ready, ...(reason !== undefined && { accelerator_reason: reason }) };
}

function tensorMetadata({ name, type, shape }: TensorSpec): TensorMetadata {
  return {
    name,
    datatype: datatypeOf(type),
    shape: shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1)),
  };
}
