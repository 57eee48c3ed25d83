import { z } from 'zod';
import { type ErrorCode, FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';

/** What was being done with which hub, for the message of a failure. */
export interface HubAttempt {
  /** As in `Cannot <doing>`: `add the device "gw-1"`. */
  readonly doing: string;
  /** Host of the hub, with its port if any. */
  readonly hostName: string;
  /** Failures that mean something of their own here, by the hub's status: what is missing or there already. */
  readonly known?: Readonly<Record<number, ErrorCode>>;
}

/** How a hub tells a failure: `{"Message":"ErrorCode:DeviceNotFound;E404001 …"}`. */
const bodySchema = z.object({ Message: z.string() });
/** What the SDK's errors carry beside their message. */
const refusalSchema = z.object({
  response: z.object({ statusCode: z.int(), headers: z.record(z.string(), z.unknown()).default({}) }),
  responseBody: z.string().default(''),
});

/**
 * Turns a failure of the hub's client into one that says which hub it was and what it said. The SDK's error is never kept as
 * the cause: it holds the request with its signature.
 */
export function hubFailure(thrown: unknown, attempt: HubAttempt): FerryError {
  const { doing, hostName, known = {} } = attempt;
  const refusal = refusalSchema.safeParse(thrown).data;
  if (refusal === undefined) return unreachable(thrown, attempt);
  const { statusCode } = refusal.response;
  const { code, message } = explanationOf(refusal.responseBody);
  const ownCode = code ?? textOf(refusal.response.headers['iothub-errorcode']);
  const said = `the hub ${hostName} answered ${statusCode}${ownCode === undefined ? '' : ` ${ownCode}`}${message}`;
  if (statusCode === 401) {
    return new FerryError('HUB_UNAUTHORIZED', `Cannot ${doing}: ${said}`, {
      next: "Check the policy's name and key in the workspace's hub connection string, and this machine's clock.",
    });
  }
  if (statusCode === 429) {
    return new FerryError('OVERLOADED', `Cannot ${doing}: ${said}`, {
      next: 'Wait a minute, or give the hub more units: each lets so many calls through in a minute.',
    });
  }
  // The hub's own trouble, which passes.
  if (statusCode >= 500) return new FerryError('HUB_UNREACHABLE', `Cannot ${doing}: ${said}`);
  return new FerryError(known[statusCode] ?? 'HUB_REFUSED', `Cannot ${doing}: ${said}`);
}

/** Says whether a failure is one of a hub that is away, or has no room, for a while. */
export function passesByItself(failure: unknown): failure is FerryError {
  return isFerryError(failure, 'HUB_UNREACHABLE') || isFerryError(failure, 'OVERLOADED');
}

/** Gives the JSON body of a refusal with this status, where that is an answer; undefined where it is another failure. */
export function refusedAnswer(thrown: unknown, status: number | undefined): unknown {
  const refusal = refusalSchema.safeParse(thrown).data;
  return refusal?.response.statusCode === status ? parseJson(refusal?.responseBody ?? '') : undefined;
}

function explanationOf(body: string): { readonly code: string | undefined; readonly message: string } {
  const envelope = bodySchema.safeParse(parseJson(body)).data?.Message;
  if (envelope === undefined) return { code: undefined, message: '' };
  const found = /^ErrorCode:([^;]*);(.*)$/s.exec(envelope);
  if (found === null) return { code: undefined, message: `: ${envelope}` };
  return { code: found[1], message: found[2]?.trim() ? `: ${found[2].trim()}` : '' };
}

function unreachable(thrown: unknown, { doing, hostName }: HubAttempt): FerryError {
  const late = isFerryError(thrown, 'TIMEOUT');
  const found = late
    ? thrown.message
    : (systemCodeOf(thrown) ?? (thrown instanceof Error ? thrown.message : 'no answer'));
  return new FerryError('HUB_UNREACHABLE', `Cannot ${doing}: nothing usable answers at ${hostName} (${found})`, {
    next: 'Check that the hub is up (`ferry up` for the local one) and that this machine may reach it.',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
