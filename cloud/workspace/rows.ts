import { z } from 'zod';

/** Tags or properties: texts by key. */
export const pairsSchema = z.record(z.string(), z.string());

/** Reads a database column that holds JSON text. */
export function json<T>(schema: z.ZodType<T>): z.ZodType<T, string> {
  return z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(schema);
}
