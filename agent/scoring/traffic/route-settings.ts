import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { TlsFiles } from '../http/tls-files.ts';

const portSchema = z.coerce.number().int().min(0).max(65_535);
const percentSchema = z.number().min(0).max(100);

const versionSchema = z.strictObject({
  name: z.string().min(1),
  // What is in it stands for a variable that nobody has set.
  host: z.string().regex(/^[^$\s]+$/, 'the address of the version is not known'),
  port: portSchema,
  /** Of all requests, how many it answers. */
  percent: percentSchema,
  /** Of the requests that others answer, how many it gets a copy of. */
  mirrorPercent: percentSchema,
});

const environmentSchema = z.object({
  MODELFERRY_ROUTES: z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue('it is no JSON');
        return z.NEVER;
      }
    })
    .pipe(z.array(versionSchema).min(1).max(16)),
  MODELFERRY_HOST: z.string().min(1).default('0.0.0.0'),
  MODELFERRY_PORT: portSchema.default(5001),
  MODELFERRY_HEALTH_PORT: portSchema.default(5003),
  MODELFERRY_TLS_CERTIFICATE_FILE: z.string().min(1).optional(),
  MODELFERRY_TLS_KEY_FILE: z.string().min(1).optional(),
  SCORING_TIMEOUT_MS: z.coerce.number().int().positive().default(60_000),
});

/** One version of a service: where it is, and which requests are its. */
export type RoutedVersion = z.infer<typeof versionSchema>;

/** What a router is told at its start. */
export interface RouteSettings {
  /** The first is the service's own, which takes what a version that does not answer has left. */
  readonly versions: readonly RoutedVersion[];
  readonly host: string;
  readonly port: number;
  readonly healthPort: number;
  /** The versions have the same. @default plain HTTP */
  readonly tls: TlsFiles | undefined;
  readonly timeoutMs: number;
}

/**
 * Reads what a router is told.
 * @throws {FerryError} CONFIG_INVALID naming everything that is wrong
 */
export function readRouteSettings(environment: NodeJS.ProcessEnv): RouteSettings {
  const read = environmentSchema.safeParse(environment);
  const problems = read.error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];
  const sum = read.data?.MODELFERRY_ROUTES.reduce((all, { percent }) => all + percent, 0);
  if (sum !== undefined && Math.abs(sum - 100) > 1e-6) problems.push(`the shares make ${sum} %, 100 was wanted`);
  const { data } = read;
  if (data === undefined || problems.length > 0) {
    throw new FerryError('CONFIG_INVALID', `Cannot route requests: ${problems.join('; ')}`);
  }
  const { MODELFERRY_TLS_CERTIFICATE_FILE: certificateFile, MODELFERRY_TLS_KEY_FILE: keyFile } = data;
  return {
    versions: data.MODELFERRY_ROUTES,
    host: data.MODELFERRY_HOST,
    port: data.MODELFERRY_PORT,
    healthPort: data.MODELFERRY_HEALTH_PORT,
    tls:
      certificateFile === undefined || keyFile === undefined
        ? undefined
        : { certificateFile, keyFile, clientCaFile: undefined },
    timeoutMs: data.SCORING_TIMEOUT_MS,
  };
}
