import { readFile } from 'node:fs/promises';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';
import { settingsInFile } from '../deploy/settings/settings-in-file.ts';
import { parseStage } from './parse-stage.ts';

/** What a file may say; what is not in it comes from elsewhere, or has its default. */
const fileSchema = z.strictObject({
  image: z.string().optional(),
  /** Target condition that all stages lie within. */
  scope: z.string().optional(),
  priority: z.int().min(0).optional(),
  /** As on the command line, or as objects. */
  stages: z.array(z.union([z.string(), z.record(z.string(), z.unknown())])).optional(),
  gate: z.record(z.string(), z.unknown()).optional(),
  settings: settingsInFile.optional(),
});

/** What a file says of a rollout. */
export type RolloutFile = z.infer<typeof fileSchema>;

/**
 * Reads a rollout under version control, in YAML.
 * @throws {FerryError} FILE_UNREADABLE
 * @throws {FerryError} CONFIG_INVALID naming everything that is wrong with its form
 */
export async function readRolloutFile(path: string): Promise<RolloutFile> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${path}": ${messageOf(cause)}`, { cause });
  });
  try {
    const file = fileSchema.parse(parse(text));
    const stages = file.stages?.map((stage) => (typeof stage === 'string' ? { ...parseStage(stage) } : stage));
    return { ...file, ...(stages && { stages }) };
  } catch (cause) {
    const isKnown = cause instanceof z.ZodError || cause instanceof YAMLParseError || isFerryError(cause);
    if (!isKnown) throw cause;
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause.message;
    throw new FerryError('CONFIG_INVALID', `Cannot read the rollout of "${path}": ${why}`);
  }
}
