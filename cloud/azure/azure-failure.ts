import { z } from 'zod';
import { type ErrorCode, FerryError, isFerryError, messageOf, systemCodeOf } from '../../shared/errors.ts';

/** What was being done with Resource Manager, for the message of a failure. */
export interface AzureAttempt {
  /** As in `Cannot <doing>`. */
  readonly doing: string;
  readonly endpoint: string;
  /** Failures that mean something of their own here, by Azure's code. */
  readonly known?: Readonly<Record<string, ErrorCode>>;
}

/** What the SDK's errors carry beside their message. */
const refusalSchema = z.object({
  statusCode: z.int(),
  code: z.string().optional(),
  details: z.object({ error: z.object({ code: z.string(), message: z.string() }) }).optional(),
  message: z.string(),
});

/**
 * Turns a failure of Azure's clients into one that says where it was and what Azure said. The SDK's error is never kept as the cause: it
 * holds the request with its token, and its secrets.
 */
export function azureFailure(thrown: unknown, { doing, endpoint, known = {} }: AzureAttempt): FerryError {
  if (isFerryError(thrown)) return thrown;
  const refusal = refusalSchema.safeParse(thrown).data;
  if (refusal === undefined) return withoutAnswer(thrown, { doing, endpoint });
  const { statusCode } = refusal;
  const code = refusal.details?.error.code ?? refusal.code ?? '';
  const message = refusal.details?.error.message ?? refusal.message;
  const said = `Azure answered ${statusCode}${code === '' ? '' : ` ${code}`}: ${message}`;
  if (statusCode === 401 || statusCode === 403) return unauthorized(doing, said);
  return new FerryError(known[code] ?? 'AZURE_REFUSED', `Cannot ${doing}: ${said}`);
}

function withoutAnswer(thrown: unknown, { doing, endpoint }: Omit<AzureAttempt, 'known'>): FerryError {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const isSignIn = thrown instanceof Error && /Authentication|CredentialUnavailable/.test(thrown.name);
  // The first line says it; what follows are hints of each way to sign in that was tried.
  const found =
    systemCodeOf(thrown) ?? (isSignIn ? (message.split('\n')[0] ?? message) : messageOf(thrown).slice(0, 300));
  if (isSignIn && systemCodeOf(thrown) === undefined) return unauthorized(doing, found);
  return new FerryError('AZURE_UNREACHABLE', `Cannot ${doing}: nothing usable answers at ${endpoint} (${found})`, {
    next: 'Check that this machine may reach it (`ferry up` for the local one).',
  });
}

function unauthorized(doing: string, said: string): FerryError {
  return new FerryError('AZURE_UNAUTHORIZED', `Cannot ${doing}: ${said}`, {
    next: 'Sign in (`az login`), or name an application that may do this in `endpoints.azure` of workspace.json.',
  });
}
