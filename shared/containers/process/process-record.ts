import { z } from 'zod';
import { isDigest, type Digest } from '../../digest.ts';
import { createOptionsSchema } from '../../edge/create-options.ts';

const recordSchema = z.object({
  spec: z.object({
    name: z.string(),
    image: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
    environment: z.record(z.string(), z.string()),
    settings: createOptionsSchema,
    dataFolder: z.string(),
    labels: z.record(z.string(), z.string()),
  }),
  /** Present while it runs. */
  process: z.object({ pid: z.int().positive(), startTicks: z.number(), bootId: z.string() }).exactOptional(),
  exitCode: z.int(),
  startedAt: z.string().exactOptional(),
  finishedAt: z.string().exactOptional(),
});

/** What the process engine writes down about one container. */
export type ProcessRecord = z.infer<typeof recordSchema>;

/** Reads back what was written down; nothing when it is not whole. */
export function parseRecord(text: string): ProcessRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
