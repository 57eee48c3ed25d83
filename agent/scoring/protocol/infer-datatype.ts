import type { TensorType } from '../../../shared/model/signature.ts';

/** The datatypes of the Open Inference Protocol, by the tensor types that they are. */
const datatypes = {
  bool: 'BOOL',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  int8: 'INT8',
  string: 'BYTES',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  uint8: 'UINT8',
} as const satisfies Record<TensorType, string>;

/** Gives a tensor type's name in the Open Inference Protocol. */
export function datatypeOf(type: TensorType): string {
  return datatypes[type];
}

const types = new Map(Object.entries(datatypes).map(([type, datatype]) => [datatype as string, type as TensorType]));

/** Gives the tensor type of a name in the Open Inference Protocol, if it is one. */
export function typeOfDatatype(datatype: string): TensorType | undefined {
  return types.get(datatype);
}
