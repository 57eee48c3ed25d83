/** One field that is not as it has to be. */
export interface Cause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

/** What an error is about. */
export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly Cause[];
  readonly retryAfterSeconds?: number;
}

/** A refusal, as the Kubernetes API says it. @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails;

  constructor(code: number, reason: string, message: string, details: StatusDetails = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The body of the answer. */
  status(): Record<string, unknown> {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      details: this.details,
      code: this.code,
    };
  }
}

/** A kind of object as errors name it. */
export interface Named {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
}

function qualified({ group }: Named, word: string): string {
  return group === '' ? word : `${word}.${group}`;
}

/** 404 of an object. */
export function notFound(resource: Named, name: string): ApiError {
  const { group, plural } = resource;
  return new ApiError(404, 'NotFound', `${qualified(resource, plural)} "${name}" not found`, {
    name,
    group,
    kind: plural,
  });
}

/** 409 of a name that is taken. */
export function alreadyExists(resource: Named, name: string): ApiError {
  const { group, plural } = resource;
  return new ApiError(409, 'AlreadyExists', `${qualified(resource, plural)} "${name}" already exists`, {
    name,
    group,
    kind: plural,
  });
}

/** 409 of a resource version that is no longer the object's. */
export function conflict(resource: Named, name: string, why: string): ApiError {
  const { group, plural } = resource;
  const message = `Operation cannot be fulfilled on ${qualified(resource, plural)} "${name}": ${why}`;
  return new ApiError(409, 'Conflict', message, { name, group, kind: plural });
}

/** 422 with every field that is wrong. */
export function invalid(resource: Named, name: string, causes: readonly Cause[]): ApiError {
  const { group, kind } = resource;
  const texts = [...new Set(causes.map(({ field, message }) => `${field}: ${message}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new ApiError(422, 'Invalid', `${qualified(resource, kind)} "${name}" is invalid: ${list}`, {
    name,
    group,
    kind,
    causes,
  });
}

/** 403 of an admission check. */
export function forbidden(resource: Named, name: string, why: string): ApiError {
  const { group, plural } = resource;
  return new ApiError(403, 'Forbidden', `${qualified(resource, plural)} "${name}" is forbidden: ${why}`, {
    name,
    group,
    kind: plural,
  });
}

/** 400 of what cannot be read. */
export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

/** The causes that Kubernetes knows, in its own words. */
export const cause = {
  required: (field: string, why = ''): Cause => ({
    reason: 'FieldValueRequired',
    message: `Required value${why === '' ? '' : `: ${why}`}`,
    field,
  }),
  invalid: (field: string, value: unknown, why: string): Cause => ({
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
    field,
  }),
  unsupported: (field: string, value: unknown, values: readonly string[]): Cause => ({
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${values.map((text) => `"${text}"`).join(', ')}`,
    field,
  }),
  duplicate: (field: string, value: unknown): Cause => ({
    reason: 'FieldValueDuplicate',
    message: `Duplicate value: ${JSON.stringify(value)}`,
    field,
  }),
  forbidden: (field: string, why: string): Cause => ({
    reason: 'FieldValueForbidden',
    message: `Forbidden: ${why}`,
    field,
  }),
} as const;
