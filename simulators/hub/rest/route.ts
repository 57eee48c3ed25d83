import type { z } from 'zod';
import { HubError } from '../hub-error.ts';
import type { Admission } from '../identity/access.ts';
import type { Permission } from '../identity/policies.ts';

/** A request, as a route's handler sees it. */
export interface Call {
  readonly params: Readonly<Record<string, string>>;
  readonly query: ReadonlyMap<string, string>;
  /** Header by lower-case name. */
  header(name: string): string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Ends when the caller goes away. */
  readonly signal: AbortSignal;
  /** How the device proved who it is, on routes of devices; a back end has none. */
  readonly admission: Admission | undefined;
}

/** What a handler answers; without a body nothing is sent but the status. */
export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Who may call a route: back ends whose policy has one of the permissions; the device (or module) that the path names; or both.
 */
export interface Allowed {
  readonly service?: readonly Permission[];
  readonly device?: boolean;
  /** Whether modules of that device may too; such a caller names itself in `x-ms-edge-moduleId`. */
  readonly modules?: boolean;
}

/** One operation of the REST interface. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** With `:deviceId`, `:moduleId`, … for the parts that vary. */
  readonly path: string;
  readonly allowed: Allowed;
  /** Whether it may be called without `api-version`. @default false */
  readonly unversioned?: boolean;
  /** Largest body, in bytes. @default 4 MiB */
  readonly bodyBytesMax?: number;
  readonly handle: (call: Call) => Answer | Promise<Answer>;
}

/** Reads a JSON body. @throws {HubError} ArgumentInvalid that names everything wrong */
export function readBody<T>(call: Call, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(call.body.toString('utf8'));
  } catch {
    throw new HubError('ArgumentInvalid', 'The request body is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 10).map(({ path, message }) => `${path.join('.')} ${message}`.trim());
  throw new HubError('ArgumentInvalid', `The request body is not valid: ${issues.join(', ')}`.replaceAll(';', ','));
}

/** Reads a whole number from the query. @throws {HubError} ArgumentInvalid */
export function readCount(
  call: Call,
  name: string,
  range: { readonly fallback: number; readonly max: number },
): number {
  const text = call.query.get(name);
  if (text === undefined) return range.fallback;
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) {
    throw new HubError('ArgumentInvalid', `The query parameter "${name}" must be a whole number of at least 1`);
  }
  return Math.min(Number(text), range.max);
}

/** Gives a part of the path; routes name all that they ask for. */
export function param(call: Call, name: string): string {
  const value = call.params[name];
  if (value === undefined) throw new TypeError(`the route has no :${name}`);
  return value;
}
