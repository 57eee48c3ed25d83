import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** The folder of the example's model and rows, beside this module in a checkout and in the published package. */
const folder = new URL('./digits/', import.meta.url);

/** The perceptron that the quickstart registers. */
export const modelFile = fileURLToPath(new URL('digits-mlp.onnx', folder));

const rowsSchema = z.object({
  /** 64 pixel values from 0 to 16 a row. */
  pixels: z.array(z.array(z.number()).length(64)),
  /** The digit that each row shows. */
  label: z.array(z.int()),
});

/** Rows that the model has not seen, and what they show. */
export type HeldOutRows = z.infer<typeof rowsSchema>;

/** Reads the 360 rows that the model has not seen. */
export async function readHeldOutRows(): Promise<HeldOutRows> {
  return rowsSchema.parse(JSON.parse(await readFile(new URL('digits-heldout.json', folder), 'utf8')));
}

/** Gives the share of labels that are right, from 0 to 1. */
export function accuracyOf(found: readonly number[], wanted: readonly number[]): number {
  return found.filter((label, index) => label === wanted[index]).length / wanted.length;
}
