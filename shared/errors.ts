/** Every code that an expected failure may carry. A code is public: scripts test for it, so none is ever renamed. */
export const errorCodes = [
  'ACCELERATOR_UNAVAILABLE',
  'AGENT_UNREACHABLE',
  'AZURE_REFUSED',
  'AZURE_UNAUTHORIZED',
  'AZURE_UNREACHABLE',
  'BUFFER_INVALID',
  'CHECK_FAILED',
  'CONFIG_INVALID',
  'CONNECTION_STRING_INVALID',
  'DATA_INCONSISTENT',
  'DEPLOYMENT_CHANGED',
  'DEPLOYMENT_INVALID',
  'DEPLOYMENT_NOT_FOUND',
  'DEVICE_EXISTS',
  'DEVICE_NOT_FOUND',
  'DIGEST_MISMATCH',
  'DISK_FULL',
  'ENDPOINT_MISSING',
  'ENGINE_FAILED',
  'FILE_EXISTS',
  'FILE_NOT_FOUND',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'HUB_REFUSED',
  'HUB_UNAUTHORIZED',
  'HUB_UNREACHABLE',
  'IMAGE_INVALID',
  'IMAGE_NOT_FOUND',
  'INSTALL_FAILED',
  'INTERRUPTED',
  'IN_USE',
  'MODEL_INVALID',
  'MODEL_NOT_FOUND',
  'NAME_INVALID',
  'OVERLOADED',
  'PLATFORM_UNSUPPORTED',
  'PORT_IN_USE',
  'PORT_UNUSABLE',
  'REGISTRY_REFUSED',
  'REGISTRY_UNREACHABLE',
  'REQUEST_INVALID',
  'REQUEST_TOO_LARGE',
  'REQUEST_TYPE_UNSUPPORTED',
  'ROLLOUT_HALTED',
  'ROLLOUT_NOT_FOUND',
  'SCORING_FAILED',
  'SCRIPT_INVALID',
  'SERVICE_EXISTS',
  'SERVICE_FAILED',
  'SERVICE_INVALID',
  'SERVICE_NOT_FOUND',
  'STEP_FAILED',
  'STORAGE_DENIED',
  'STORAGE_REFUSED',
  'STORAGE_UNREACHABLE',
  'TAG_INVALID',
  'TIMEOUT',
  'UNAUTHORIZED',
  'USAGE',
  'WORKSPACE_CORRUPT',
  'WORKSPACE_EXISTS',
  'WORKSPACE_NOT_FOUND',
  'WORKSPACE_TOO_NEW',
  'WORLD_FAILED',
] as const;

/** One of the codes that an expected failure may carry. */
export type ErrorCode = (typeof errorCodes)[number];

/** The settings of a {@link FerryError} beside its code and message. */
export interface FerryErrorOptions {
  /** What made it fail, kept for the log and for the `cause:` line of the command line. */
  readonly cause?: unknown;
  /** What the user can do next, one imperative sentence. */
  readonly next?: string;
}

/**
 * An expected failure: something outside of the program is not as it has to be.
 *
 * The message reads `Cannot <verb> <thing>: <what is>, <what was wanted>`, quotes strings, gives values with their
 * bounds, and never holds a secret. Programmer errors are no FerryError: they are assertions, and crash.
 */
export class FerryError extends Error {
  override readonly name = 'FerryError';
  readonly code: ErrorCode;
  readonly next: string | undefined;

  constructor(code: ErrorCode, message: string, options: FerryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.next = options.next;
  }
}

/** Says whether the value is a {@link FerryError}, of the given code if one is given. */
export function isFerryError(value: unknown, code?: ErrorCode): value is FerryError {
  return value instanceof FerryError && (code === undefined || value.code === code);
}

/** Gives the message of anything that was thrown, with the messages of its causes, outermost first. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.message === '' ? (systemCodeOf(thrown) ?? thrown.name) : thrown.message;
  return thrown.cause === undefined ? own : `${own}: ${messageOf(thrown.cause)}`;
}

/** Gives the operating system's code of a failure (`ENOENT`, `ECONNREFUSED`), found on it or on one of its causes. */
export function systemCodeOf(thrown: unknown): string | undefined {
  for (let at: unknown = thrown; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string' && /^E[A-Z0-9_]+$/.test(at.code)) return at.code;
    if (at instanceof AggregateError) {
      const inner = at.errors.map(systemCodeOf).find((code) => code !== undefined);
      if (inner !== undefined) return inner;
    }
  }
  return undefined;
}
