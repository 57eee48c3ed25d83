import type { TensorSpec } from '../../../shared/model/signature.ts';
import { productVersion } from '../../../shared/version.ts';
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
}

/** Describes a model by its signature. */
export function metadataOf({ model }: Scorer, models: ServedModels): ModelMetadata {
  const { name, signature } = model;
  return {
    name,
    versions: models.versions(name),
    platform: 'onnxruntime_onnx',
    inputs: signature.inputs.map(tensorMetadata),
    outputs: signature.outputs.map(tensorMetadata),
  };
}

function tensorMetadata({ name, type, shape }: TensorSpec): TensorMetadata {
  return {
    name,
    datatype: datatypeOf(type),
    shape: shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1)),
  };
}
