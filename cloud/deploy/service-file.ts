import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { flavors } from '../images/flavor.ts';
import { pairsSchema } from '../workspace/rows.ts';
import type { PushRequest } from './push.ts';
import { allSettings, type GivenSettings } from './settings/definitions.ts';
import { settingsInFile } from './settings/settings-in-file.ts';
import { parseTarget } from './target.ts';

const modelSchema = z.strictObject({
  /** Relative to the file, as all paths in it. */
  path: z.string().min(1),
  name: z.string().min(1),
  main: z.string().optional(),
  sample: z.string().optional(),
  tags: pairsSchema.optional(),
  properties: pairsSchema.optional(),
  description: z.string().optional(),
});

/** A service as a file under version control describes it. */
const fileSchema = z
  .strictObject({
    name: z.string(),
    target: z.string(),
    models: z.array(modelSchema).min(1).optional(),
    image: z.string().optional(),
    build: z
      .strictObject({
        script: z.string().optional(),
        include: z.array(z.string()).optional(),
        base: z.string().optional(),
        platform: z.string().optional(),
        optimize: z.boolean().optional(),
        flavor: z.enum(flavors).optional(),
      })
      .optional(),
    settings: settingsInFile.default({}),
    tags: pairsSchema.default({}),
    properties: pairsSchema.default({}),
    description: z.string().default(''),
  })
  .refine(({ models, image }) => (models === undefined) !== (image === undefined), {
    message: 'it has both "models" and "image", or neither: one of them was wanted',
  });

/**
 * Reads `service.yaml`: all of a service, so that what it does not say is as it is by itself.
 * @throws {FerryError} FILE_NOT_FOUND, FILE_UNREADABLE
 * @throws {FerryError} CONFIG_INVALID naming everything that is wrong with it
 */
export async function readServiceFile(path: string): Promise<PushRequest> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const isMissing = systemCodeOf(cause) === 'ENOENT';
    throw new FerryError(
      isMissing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE',
      `Cannot read "${path}": ${systemCodeOf(cause)}`,
      { cause },
    );
  });
  const folder = dirname(resolve(path));
  const { models = [], image, build = {}, target, settings, ...rest } = parseFile(path, text);
  const inFolder = (file: string): string => resolve(folder, file);
  return {
    ...rest,
    target: parseTarget(target),
    settings: withPaths(settings, inFolder),
    models: models.map(({ path, sample, main, tags, properties, description, name }) => ({
      path: inFolder(path),
      name,
      ...(sample !== undefined && { sample: inFolder(sample) }),
      ...(main !== undefined && { main }),
      ...(tags && { tags }),
      ...(properties && { properties }),
      ...(description !== undefined && { description }),
    })),
    ...(image !== undefined && { image }),
    build: buildOf(build, inFolder),
    isWhole: true,
  };
}

function parseFile(path: string, text: string): z.infer<typeof fileSchema> {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    const where = cause instanceof YAMLParseError ? cause.message.split('\n')[0] : 'it is no YAML';
    throw new FerryError('CONFIG_INVALID', `Cannot use "${path}": ${where}`);
  }
  const read = fileSchema.safeParse(document);
  if (read.success) return read.data;
  const found = read.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new FerryError('CONFIG_INVALID', `Cannot use "${path}": ${found.join('; ')}`, {
    next: 'See what it may hold: ferry apply --help',
  });
}

/** Files are where the service's file says, from wherever the command is called. */
function withPaths(settings: GivenSettings, inFolder: (file: string) => string): GivenSettings {
  const files = allSettings().filter(([, { argument }]) => argument === '<file>');
  const given = files.flatMap(([name]) => {
    const path = settings[name];
    return typeof path === 'string' ? [[name, inFolder(path)]] : [];
  });
  return { ...settings, ...(Object.fromEntries(given) as GivenSettings) };
}

function buildOf(
  { script, ...build }: NonNullable<z.infer<typeof fileSchema>['build']>,
  inFolder: (file: string) => string,
): NonNullable<PushRequest['build']> {
  const given = Object.fromEntries(Object.entries(build).filter(([, value]) => value !== undefined));
  return { ...given, ...(script !== undefined && { script: inFolder(script) }) };
}
