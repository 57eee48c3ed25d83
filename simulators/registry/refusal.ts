import { systemCodeOf } from '../../shared/errors.ts';

/** The error codes of the OCI distribution-spec 1.1, "Error Codes", with the status that each is answered with here. */
const statusOf = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
} as const;

/** One of the error codes of the distribution-spec. */
export type RefusalCode = keyof typeof statusOf;

/** The settings of a {@link Refusal} beside its code and message. */
export interface RefusalOptions {
  /** Where the usual status of the code is not the right one. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a client is told that asked for something it cannot have. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RefusalCode, message: string, options: RefusalOptions = {}) {
    super(message);
    this.code = code;
    this.status = options.status ?? statusOf[code];
    this.headers = options.headers ?? {};
  }

  /** The answer's body. */
  toBody(): string {
    return JSON.stringify({ errors: [{ code: this.code, message: this.message }] });
  }
}

/** Says whether a failure is that the disk of the registry has no room. */
export function isDiskFull(failure: unknown): boolean {
  const code = systemCodeOf(failure);
  return code === 'ENOSPC' || code === 'EDQUOT';
}
