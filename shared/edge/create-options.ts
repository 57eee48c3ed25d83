import { z } from 'zod';
import { FerryError } from '../errors.ts';

/** Characters of one piece of `createOptions`, from the time when a twin's values had at most 512. */
const chunkLength = 512;

/** Most pieces that `createOptions` may have: `createOptions`, `createOptions01` … `createOptions99`. */
const chunkCountMax = 100;

/**
 * What a container is created with: the body of Docker's `POST /containers/create`, of which the fields here are checked
 * and all others kept as they are.
 * @see https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
 */
export const createOptionsSchema = z.looseObject({
  Env: z.array(z.string()).optional(),
  Entrypoint: z.union([z.string(), z.array(z.string())]).optional(),
  Cmd: z.union([z.string(), z.array(z.string())]).optional(),
  User: z.string().optional(),
  WorkingDir: z.string().optional(),
  Labels: z.record(z.string(), z.string()).optional(),
  ExposedPorts: z.record(z.string(), z.looseObject({})).optional(),
  HostConfig: z
    .looseObject({
      Binds: z.array(z.string()).nullish(),
      /** Bytes; 0 is no limit. */
      Memory: z.int().nonnegative().optional(),
      /** Billionths of a processor; 0 is no limit. */
      NanoCpus: z.int().nonnegative().optional(),
      /** Processes and threads together; 0, -1 and null are no limit. */
      PidsLimit: z.int().min(-1).nullish(),
      PortBindings: z
        .record(
          z.string(),
          z.array(z.looseObject({ HostIp: z.string().optional(), HostPort: z.string().optional() })).nullable(),
        )
        .nullish(),
    })
    .optional(),
});

/** Docker's container settings; see {@link createOptionsSchema}. */
export type CreateOptions = z.infer<typeof createOptionsSchema>;

/** A module's settings, of which the `createOptions…` fields are looked at. */
type Settings = Readonly<Record<string, unknown>>;

/**
 * Writes `createOptions` as a manifest carries them: JSON in pieces of 512 characters.
 * @throws {FerryError} DEPLOYMENT_INVALID when they need more than 100 pieces
 */
export function splitCreateOptions(options: CreateOptions): Record<string, string> {
  const text = JSON.stringify(options);
  const count = Math.ceil(text.length / chunkLength);
  if (count > chunkCountMax) {
    throw new FerryError(
      'DEPLOYMENT_INVALID',
      `Cannot write createOptions: ${text.length} characters, at most ${chunkLength * chunkCountMax} were wanted`,
    );
  }
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      chunkName(index),
      text.slice(index * chunkLength, (index + 1) * chunkLength),
    ]),
  );
}

/** Puts the pieces of `createOptions` together again. Names of fields are compared without regard to case, as IoT Edge does. */
export function joinCreateOptions(settings: Settings): string {
  const byName = new Map(Object.entries(settings).map(([name, value]) => [name.toLowerCase(), value]));
  const pieces: string[] = [];
  for (let index = 0; index < chunkCountMax; index += 1) {
    const piece = byName.get(chunkName(index).toLowerCase());
    if (typeof piece !== 'string') break;
    pieces.push(piece);
  }
  return pieces.join('');
}

/**
 * Reads a module's `createOptions` from its settings; none, an empty text and `null` are empty options.
 * @throws {FerryError} DEPLOYMENT_INVALID when they are no JSON object that Docker would take
 */
export function parseCreateOptions(settings: Settings): CreateOptions {
  const text = joinCreateOptions(settings).trim();
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FerryError('DEPLOYMENT_INVALID', 'Cannot read createOptions: no JSON, a JSON object was wanted', {
      cause,
    });
  }
  const result = createOptionsSchema.safeParse(value ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'the whole'}: ${issue.message}`);
  throw new FerryError('DEPLOYMENT_INVALID', `Cannot read createOptions: ${problems.join('; ')}`);
}

/** Says whether a field of a module's settings is a piece of `createOptions`. */
export function isCreateOptionsField(name: string): boolean {
  return /^createoptions(?:0[1-9]|[1-9]\d)?$/i.test(name);
}

function chunkName(index: number): string {
  return index === 0 ? 'createOptions' : `createOptions${String(index).padStart(2, '0')}`;
}
