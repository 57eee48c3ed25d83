import * as z from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { type Quota, quotaPolicies } from './room.ts';
import { designations } from './stream.ts';

const megabyte = 1_048_576;

/** How a buffer is drained. It is kept in the buffer itself: who drains is another program than who collects. */
export const drainSettingsSchema = z.strictObject({
  /** In which order a backlog goes; rows that are fresh do not wait for it either way. */
  order: z.enum(['oldest-first', 'newest-first']).default('oldest-first'),
  /** Bytes a second that uploads of this buffer take at most. @default no limit */
  bytesPerSecondMax: z.int().min(1024).optional(),
});

/** How a buffer is drained; what is not given has its default. */
export type DrainSettings = z.input<typeof drainSettingsSchema>;

const designationSchema = z.strictObject({
  policy: z.enum(quotaPolicies).optional(),
  priority: z.int().min(0).max(9).optional(),
});

/** What is collected of a service, and how much of it is kept until storage has it. */
const collectSettingsSchema = z.strictObject({
  /** Share of the requests that is collected, all designations of a request or none. */
  sampleRate: z.number().gt(0).max(1).default(1),
  /** Features, or columns of them, that are never written down. */
  redact: z.array(z.string().min(1)).default([]),
  /** Names of the columns of a tensor, in place of `<tensor>_0`, `<tensor>_1`, … */
  columns: z.record(z.string(), z.array(z.string().min(1)).min(1)).default({}),
  bytesMax: z
    .int()
    .min(megabyte)
    .default(1024 * megabyte),
  policy: z.enum(quotaPolicies).default('drop-oldest'),
  keepOneIn: z.int().min(2).max(100).default(2),
  // What came true cannot be made again; the rest can be scored again.
  designations: z.partialRecord(z.enum(designations), designationSchema).default({ labels: { priority: 1 } }),
  ageHoursMax: z.number().positive().optional(),
  diskReserveBytes: z
    .int()
    .nonnegative()
    .default(64 * megabyte),
  drain: drainSettingsSchema.default({ order: 'oldest-first' }),
});

/** What is collected of a service, and how much of it is kept until storage has it. */
export type CollectSettings = z.infer<typeof collectSettingsSchema>;

/** The settings where nobody says anything. */
export const defaultCollectSettings: CollectSettings = collectSettingsSchema.parse({});

/**
 * Reads settings from JSON text.
 * @throws {FerryError} USAGE naming everything that is wrong
 */
export function parseCollectSettings(text: string): CollectSettings {
  const parsed = collectSettingsSchema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  const found = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`).join('; ');
  throw new FerryError('USAGE', `Cannot read the settings of collection: ${found}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FerryError(
      'USAGE',
      `Cannot read the settings of collection: they are "${text.slice(0, 100)}", JSON was wanted`,
    );
  }
}

/** Gives what the settings say of the buffer. */
export function quotaOf(settings: CollectSettings): Quota {
  const { bytesMax, policy, keepOneIn, designations: byDesignation, diskReserveBytes, ageHoursMax } = settings;
  const ageMsMax = ageHoursMax === undefined ? undefined : ageHoursMax * 3_600_000;
  return { bytesMax, policy, keepOneIn, designations: byDesignation, diskReserveBytes, ageMsMax };
}
