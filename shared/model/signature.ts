import * as z from 'zod';

/** Element types that a tensor may have here, in Open Inference Protocol's sense, by ONNX's names in lower case. */
export const tensorTypes = [
  'bool',
  'float16',
  'float32',
  'float64',
  'int16',
  'int32',
  'int64',
  'int8',
  'string',
  'uint16',
  'uint32',
  'uint64',
  'uint8',
] as const;

/** One of the element types that a tensor may have. */
export type TensorType = (typeof tensorTypes)[number];

/** A tensor that a model takes or gives. */
export const tensorSchema = z.strictObject({
  name: z.string().min(1),
  type: z.enum(tensorTypes),
  /** A number is a fixed dimension, a text a symbolic one ("batch"), "?" one that the model leaves open. */
  shape: z.array(z.union([z.int().nonnegative(), z.string().min(1)])),
});

/** What a model takes and gives: `{ inputs, outputs }`, each in the order of the graph. */
export const signatureSchema = z.strictObject({
  inputs: z.array(tensorSchema),
  outputs: z.array(tensorSchema),
});

export type TensorSpec = z.infer<typeof tensorSchema>;
export type Signature = z.infer<typeof signatureSchema>;
