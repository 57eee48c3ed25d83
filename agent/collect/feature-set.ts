import * as z from 'zod';
import { tensorTypes } from '../../shared/model/signature.ts';
import type { Tensor } from './tensor.ts';

/** What one row of a stream holds of one tensor. */
const featureSchema = z.strictObject({
  name: z.string(),
  type: z.enum(tensorTypes),
  /** Elements of one row. */
  width: z.int().nonnegative(),
  /** Names of its columns, where they are declared. @default `<name>`, or `<name>_0`, `<name>_1`, … */
  columns: z.array(z.string()).optional(),
});

/** What one row holds, in the order of its columns. Rows of different feature sets never share a file. */
export const featureSetSchema = z.array(featureSchema);

export type Feature = z.infer<typeof featureSchema>;
export type FeatureSet = readonly Feature[];

/**
 * Counts the rows of tensors: along their first dimension where all have the same one, else all of them together are one row.
 */
export function rowsIn(tensors: readonly Tensor[]): number {
  const first = tensors[0]?.shape[0];
  if (first === undefined) return 1;
  for (const { shape } of tensors) if (shape[0] !== first) return 1;
  return first;
}

/** Counts the elements of a tensor in each of so many rows, at least one. */
export function elementsOfRow({ data }: Tensor, rows: number): number {
  return data.length / rows;
}

/** Gives what one of so many rows holds. */
export function featuresOf(tensors: readonly Tensor[], rows: number): FeatureSet {
  return tensors.map((tensor) => ({ name: tensor.name, type: tensor.type, width: elementsOfRow(tensor, rows) }));
}

/**
 * Names the columns: `<tensor>` where a row has one element of it, else `<tensor>_0`, `<tensor>_1`, … A name that is there
 * already becomes `<name>.1`, `<name>.2`, …, so that no two columns share one.
 */
export function columnNames(features: FeatureSet): string[] {
  const names = features.flatMap(featureColumns);
  const taken = new Set<string>();
  return names.map((name) => {
    let free = name;
    for (let copy = 1; taken.has(free); copy += 1) free = `${name}.${copy}`;
    taken.add(free);
    return free;
  });
}

/** Names the columns of one feature, as they are declared or by their numbers. */
export function featureColumns({ name, width, columns }: Feature): readonly string[] {
  if (columns !== undefined) return columns;
  return width === 1 ? [name] : Array.from({ length: width }, (_, index) => `${name}_${index}`);
}
