import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { collectFolders, collectFormats, type FileSettings } from '../../shared/collect/file-settings.ts';
import { FerryError } from '../../shared/errors.ts';
import { type CollectSettings, defaultCollectSettings, parseCollectSettings } from '../collect/collect-settings.ts';
import type { StorageAccess } from '../collect/storage-upload.ts';
import type { SharedSocket } from './http/shared-listener.ts';
import type { TlsFiles } from './http/tls-files.ts';
import { coresAvailable } from './pool/cpu-limit.ts';
import { scriptPath } from '../../shared/model/script.ts';
import {
  type ScoredModel,
  type ServiceConfig,
  serviceConfigPath,
  serviceConfigSchema,
} from '../../shared/model/service-config.ts';
import {
  acceleratorEnvironment,
  type AcceleratorSettings,
  acceleratorSettings,
} from './accelerator/accelerator-settings.ts';
import { telemetryEnvironment, type TelemetrySettings, telemetrySettings } from './telemetry/telemetry-settings.ts';

/** What the scoring server is told at its start. */
export interface ScoringSettings {
  /** Folder that stands for the root of the image. */
  readonly root: string;
  readonly config: ServiceConfig;
  readonly service: string;
  readonly serviceVersion: string;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly timeoutMs: number;
  /** `<subscription>/<resource group>/<workspace>`. */
  readonly workspace: string;
  /** Folder of the collection buffer, where collection is on. */
  readonly collectInto: string | undefined;
  /** How collected rows become files. */
  readonly collectFiles: FileSettings;
  /** Which requests are collected, what of them, and how much of it is kept. */
  readonly collectSettings: CollectSettings;
  /** How collected rows get to storage from here. @default an agent beside it does that */
  readonly upload: { readonly access: StorageAccess; readonly everyMs: number } | undefined;
  readonly corsOrigins: readonly string[];
  /** Stands before every path, as in "/svc"; or empty. */
  readonly pathPrefix: string;
  /** File of the keys that callers need. @default everybody may call */
  readonly keysFile: string | undefined;
  /** Where connections are accepted beside the port. @default nowhere */
  readonly sharedSocket: SharedSocket | undefined;
  /** @default plain HTTP */
  readonly tls: TlsFiles | undefined;
  /** Port for health and metrics alone, without TLS and keys. @default none */
  readonly healthPort: number | undefined;
  /** Port of the Open Inference Protocol over gRPC. @default none */
  readonly grpcPort: number | undefined;
  readonly limits: RequestLimits;
  /** Whether each request gets a line in the log. */
  readonly logsRequests: boolean;
  /** Where traces and logs go. @default nowhere */
  readonly telemetry: TelemetrySettings | undefined;
  /** What models run on. @default this machine's processor */
  readonly accelerator: AcceleratorSettings | undefined;
  /** Threads that listen, where all models are light. */
  readonly listeners: number;
  /** Whether other threads listen at the port too. */
  readonly sharesPort: boolean;
  /** Worker processes of a model that is too slow for the listening thread. */
  readonly workers: number;
  /** Memory of one worker, beyond which it is replaced. */
  readonly workerBytesMax: number | undefined;
  /** Rows of one run that several requests share. */
  readonly batchRowsMax: number;
  /** Requests that may wait for one model; one more is refused. */
  readonly waitingMax: number;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
}

/** What one client, or all together, may ask of the server. */
export interface RequestLimits {
  /** How long a client may take to send its headers. */
  readonly headersTimeoutMs: number;
  /** How long a client may take to send all of its request. */
  readonly requestTimeoutMs: number;
  /** How long a connection is kept without a request. */
  readonly keepAliveTimeoutMs: number;
  readonly bodyBytesMax: number;
  /** Bytes of all requests that are held at a time. */
  readonly heldBytesMax: number;
}

const trueOrFalse = z
  .string()
  .regex(/^(true|false)$/i)
  .transform((text) => text.toLowerCase() === 'true');

const bodyBytesMax = 100 * 1024 * 1024;

/** By Azure ML's names where it had one. */
const environmentSchema = z.object({
  SERVICE_NAME: z.string().min(1).optional(),
  SERVICE_VERSION: z.string().min(1).default('1.0'),
  SCORING_TIMEOUT_MS: z.coerce.number().int().positive().default(60_000),
  AML_MODEL_DC_STORAGE_ENABLED: trueOrFalse.default(false),
  // What a folder of collected rows covers, by Azure ML's name.
  AML_MODEL_DC_BOUNDARY: z.enum(collectFolders).default('day'),
  // JSON; it has a reader of its own, which names what is wrong in it.
  MODELFERRY_COLLECT: z.string().optional(),
  MODELFERRY_COLLECT_FORMAT: z.enum(collectFormats).default('csv'),
  // File with the address of a storage container that is signed for writing; or the address, for a managed identity.
  MODELFERRY_UPLOAD_SAS_FILE: z.string().min(1).optional(),
  MODELFERRY_UPLOAD_CONTAINER: z.url({ protocol: /^https?$/ }).optional(),
  AZURE_CLIENT_ID: z.string().min(1).optional(),
  MODELFERRY_UPLOAD_EVERY_MS: z.coerce.number().int().min(10).max(86_400_000).default(60_000),
  AML_CORS_ORIGINS: z.string().default(''),
  // One more thread costs 30 MB, which a gateway may need for something else: whoever wants the speed says so.
  MODELFERRY_LISTENERS: z.coerce.number().int().min(1).max(64).default(1),
  WORKER_COUNT: z.coerce.number().int().min(1).max(256).optional(),
  MODELFERRY_WORKER_BYTES_MAX: z.coerce.number().int().positive().optional(),
  MODELFERRY_BATCH_ROWS_MAX: z.coerce.number().int().positive().default(256),
  MODELFERRY_WAITING_MAX: z.coerce.number().int().positive().default(1024),
  MODELFERRY_HOST: z.string().min(1).default('0.0.0.0'),
  MODELFERRY_PORT: z.coerce.number().int().min(0).max(65_535).default(5001),
  // Of whoever starts several of these behind one port; it is a socket that is bound.
  MODELFERRY_LISTEN_FD: z.coerce.number().int().min(3).optional(),
  MODELFERRY_LISTEN_WHEN: z.string().min(1).optional(),
  MODELFERRY_HEALTH_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  MODELFERRY_GRPC_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  SERVICE_PATH_PREFIX: z
    .string()
    .transform((text) => text.split('/').filter((part) => part !== ''))
    .transform((parts) => parts.map((part) => `/${part}`).join(''))
    .default(''),
  // Slow clients hold a connection, never more; and not for long.
  MODELFERRY_HEADERS_TIMEOUT_MS: z.coerce.number().int().positive().default(10_000),
  MODELFERRY_REQUEST_TIMEOUT_MS: z.coerce.number().int().positive().default(60_000),
  // Load balancers reuse a connection for a minute (Azure's four); it must not be closed under a request.
  MODELFERRY_KEEP_ALIVE_TIMEOUT_MS: z.coerce.number().int().positive().default(245_000),
  // Azure ML's routers refuse more.
  MODELFERRY_BODY_BYTES_MAX: z.coerce.number().int().positive().default(bodyBytesMax),
  MODELFERRY_HELD_BYTES_MAX: z.coerce
    .number()
    .int()
    .positive()
    .default(4 * bodyBytesMax),
  MODELFERRY_LOG_REQUESTS: trueOrFalse.default(false),
  ...telemetryEnvironment,
  ...acceleratorEnvironment,
  MODELFERRY_KEYS_FILE: z.string().min(1).optional(),
  MODELFERRY_TLS_CERTIFICATE_FILE: z.string().min(1).optional(),
  MODELFERRY_TLS_KEY_FILE: z.string().min(1).optional(),
  MODELFERRY_TLS_CLIENT_CA_FILE: z.string().min(1).optional(),
  MODELFERRY_WORKSPACE: z
    .string()
    .regex(/^[^/]+\/[^/]+\/[^/]+$/, 'it is not <subscription>/<resource group>/<workspace>')
    .default('default/default/default'),
  MODELFERRY_DATA_DIR: z.string().min(1).optional(),
  MODELFERRY_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/**
 * Reads what the image and the environment say.
 * @param root folder that stands for the root of the image
 * @throws {FerryError} USAGE when a variable of the environment is wrong; all of them are named
 * @throws {FerryError} IMAGE_INVALID when the image has no usable service configuration
 */
export function readSettings(root: string, environment: NodeJS.ProcessEnv): ScoringSettings {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const found = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
    throw new FerryError('USAGE', `Cannot read the environment: ${found}`);
  }
  const given = parsed.data;
  if (given.AML_MODEL_DC_STORAGE_ENABLED && given.MODELFERRY_DATA_DIR === undefined) {
    throw new FerryError(
      'USAGE',
      'Cannot collect: MODELFERRY_DATA_DIR is not set, the folder for what is collected was wanted',
    );
  }
  const config = readConfig(root);
  return {
    root,
    config,
    service: given.SERVICE_NAME ?? config.models[0]?.name ?? 'service',
    serviceVersion: given.SERVICE_VERSION,
    host: given.MODELFERRY_HOST,
    port: given.MODELFERRY_PORT,
    timeoutMs: given.SCORING_TIMEOUT_MS,
    workspace: given.MODELFERRY_WORKSPACE,
    collectInto: given.AML_MODEL_DC_STORAGE_ENABLED ? given.MODELFERRY_DATA_DIR : undefined,
    collectFiles: { format: given.MODELFERRY_COLLECT_FORMAT, folder: given.AML_MODEL_DC_BOUNDARY },
    collectSettings:
      given.MODELFERRY_COLLECT === undefined ? defaultCollectSettings : parseCollectSettings(given.MODELFERRY_COLLECT),
    upload: uploadSettings(given),
    corsOrigins: given.AML_CORS_ORIGINS.split(',')
      .map((origin) => origin.trim())
      .filter((origin) => origin !== ''),
    pathPrefix: given.SERVICE_PATH_PREFIX,
    grpcPort: given.MODELFERRY_GRPC_PORT,
    limits: {
      headersTimeoutMs: given.MODELFERRY_HEADERS_TIMEOUT_MS,
      requestTimeoutMs: given.MODELFERRY_REQUEST_TIMEOUT_MS,
      keepAliveTimeoutMs: given.MODELFERRY_KEEP_ALIVE_TIMEOUT_MS,
      bodyBytesMax: given.MODELFERRY_BODY_BYTES_MAX,
      heldBytesMax: given.MODELFERRY_HELD_BYTES_MAX,
    },
    logsRequests: given.MODELFERRY_LOG_REQUESTS,
    telemetry: telemetrySettings(given),
    accelerator: acceleratorSettings(given),
    keysFile: given.MODELFERRY_KEYS_FILE,
    tls: tlsFiles(given),
    sharedSocket: sharedSocket(given),
    healthPort: given.MODELFERRY_HEALTH_PORT,
    listeners: given.MODELFERRY_LISTENERS,
    sharesPort: false,
    workers: given.WORKER_COUNT ?? coresAvailable(),
    workerBytesMax: given.MODELFERRY_WORKER_BYTES_MAX,
    batchRowsMax: given.MODELFERRY_BATCH_ROWS_MAX,
    waitingMax: given.MODELFERRY_WAITING_MAX,
    logLevel: given.MODELFERRY_LOG_LEVEL,
  };
}

function sharedSocket(given: z.infer<typeof environmentSchema>): SharedSocket | undefined {
  const { MODELFERRY_LISTEN_FD: fd, MODELFERRY_LISTEN_WHEN: onceThereIs } = given;
  return fd === undefined ? undefined : { fd, onceThereIs };
}

function tlsFiles(given: z.infer<typeof environmentSchema>): TlsFiles | undefined {
  const { MODELFERRY_TLS_CERTIFICATE_FILE: certificateFile, MODELFERRY_TLS_KEY_FILE: keyFile } = given;
  const clientCaFile = given.MODELFERRY_TLS_CLIENT_CA_FILE;
  if (certificateFile !== undefined && keyFile !== undefined) return { certificateFile, keyFile, clientCaFile };
  if (certificateFile === undefined && keyFile === undefined && clientCaFile === undefined) return undefined;
  throw new FerryError(
    'USAGE',
    'Cannot use TLS: MODELFERRY_TLS_CERTIFICATE_FILE and MODELFERRY_TLS_KEY_FILE belong together, both were wanted',
  );
}

function uploadSettings(given: z.infer<typeof environmentSchema>): ScoringSettings['upload'] {
  const { MODELFERRY_UPLOAD_SAS_FILE: sasFile, MODELFERRY_UPLOAD_CONTAINER: containerUrl } = given;
  const everyMs = given.MODELFERRY_UPLOAD_EVERY_MS;
  if (sasFile === undefined && containerUrl === undefined) return undefined;
  const problem = given.AML_MODEL_DC_STORAGE_ENABLED
    ? 'MODELFERRY_UPLOAD_SAS_FILE and MODELFERRY_UPLOAD_CONTAINER are set, one of them was wanted'
    : 'AML_MODEL_DC_STORAGE_ENABLED is not true, collection was wanted to be on';
  if ((sasFile !== undefined && containerUrl !== undefined) || !given.AML_MODEL_DC_STORAGE_ENABLED) {
    throw new FerryError('USAGE', `Cannot upload collected rows: ${problem}`);
  }
  if (sasFile !== undefined) return { access: { sasFile }, everyMs };
  return { access: { containerUrl: containerUrl ?? '', clientId: given.AZURE_CLIENT_ID }, everyMs };
}

/**
 * Reads which models the image serves.
 * @throws {FerryError} IMAGE_INVALID
 */
export function readConfig(root: string): ServiceConfig {
  const path = join(root, serviceConfigPath);
  const config = parseConfig(path);
  if (config.models.length > 0 || existsSync(join(root, scriptPath))) return config;
  throw new FerryError(
    'IMAGE_INVALID',
    `Cannot serve "${path}": it names no model and there is no "${scriptPath}", one of them was wanted`,
  );
}

function parseConfig(path: string): ServiceConfig {
  try {
    return serviceConfigSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new FerryError('IMAGE_INVALID', `Cannot read the service configuration "${path}"`, { cause });
  }
}

/** Gives what a script answers for: the first model of the image, or the service itself where there is none. */
export function scriptModel({ config, service }: Pick<ScoringSettings, 'config' | 'service'>): ScoredModel {
  return config.models[0] ?? { name: service, version: 1, signature: { inputs: [], outputs: [] } };
}
