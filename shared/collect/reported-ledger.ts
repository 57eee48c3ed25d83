import * as z from 'zod';

const count = z.int().nonnegative();

/** What became of the rows of one stream: `collected = uploaded + buffered + quarantined + the sum of dropped`. */
const streamSchema = z.object({
  service: z.string(),
  model: z.string(),
  version: z.int().positive(),
  designation: z.string(),
  collected: count,
  uploaded: count,
  buffered: count,
  quarantined: count,
  /** By reason. */
  dropped: z.record(z.string(), count).default({}),
});

/** What a device reports of the buffer of one module. */
const bufferSchema = z.object({
  bufferedBytes: count,
  /** Buffers that were found damaged and set aside. */
  damaged: count.default(0),
  /** By place, for a twin has no name that a model may have as a key. */
  streams: z.record(z.string(), streamSchema).default({}),
});

/** Name of the reported property of `$edgeAgent` that holds what {@link reportedLedgersSchema} describes. */
export const ledgersProperty = 'collection';

/** What a device reports of what its modules have collected, by module. */
export const reportedLedgersSchema = z.record(z.string(), bufferSchema);

/** What a device reports of what its modules have collected, by module. */
export type ReportedLedgers = z.infer<typeof reportedLedgersSchema>;
