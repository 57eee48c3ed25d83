import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';

/**
 * Answers that concern the one blob and would be the same the next time: it is malformed, too large, or stands where nothing may be
 * written over. All others concern every blob alike (a credential, a limit, the account) and pass.
 * @see https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
 */
const refusals = new Set([400, 405, 409, 411, 412, 413, 414, 415, 416]);

/** Answers to a credential that does not hold. */
const unauthorized = new Set([401, 403]);

/**
 * Makes STORAGE_REFUSED, UNAUTHORIZED or STORAGE_UNREACHABLE of what the storage SDK throws. The SDK's errors hold the request with its
 * signature, so only the status, code and address are taken over.
 * @param address of the blob, without its query
 */
export function storageError(thrown: unknown, address: string): FerryError {
  if (isFerryError(thrown)) return thrown;
  if (thrown instanceof Error && 'statusCode' in thrown && typeof thrown.statusCode === 'number') {
    const { statusCode } = thrown;
    const code = 'code' in thrown && typeof thrown.code === 'string' ? ` ${thrown.code}` : '';
    const message = `Cannot store ${address}: the storage answers ${statusCode}${code}`;
    if (unauthorized.has(statusCode)) return new FerryError('UNAUTHORIZED', message);
    return new FerryError(refusals.has(statusCode) ? 'STORAGE_REFUSED' : 'STORAGE_UNREACHABLE', message);
  }
  const why = systemCodeOf(thrown) ?? (thrown instanceof Error ? thrown.name : 'unknown failure');
  return new FerryError('STORAGE_UNREACHABLE', `Cannot reach the storage to store ${address}`, {
    cause: new Error(why),
  });
}
