import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';

/**
 * Makes STORAGE_REFUSED or STORAGE_UNREACHABLE of what the storage SDK throws. The SDK's errors hold the request with its signature, so only
 * the status, code and address are taken over.
 * @param address of the blob, without its query
 */
export function storageError(thrown: unknown, address: string): FerryError {
  if (isFerryError(thrown)) return thrown;
  if (thrown instanceof Error && 'statusCode' in thrown && typeof thrown.statusCode === 'number') {
    const code = 'code' in thrown && typeof thrown.code === 'string' ? ` ${thrown.code}` : '';
    return new FerryError(
      'STORAGE_REFUSED',
      `Cannot store ${address}: the storage answers ${thrown.statusCode}${code}`,
    );
  }
  const why = systemCodeOf(thrown) ?? (thrown instanceof Error ? thrown.name : 'unknown failure');
  return new FerryError('STORAGE_UNREACHABLE', `Cannot reach the storage to store ${address}`, {
    cause: new Error(why),
  });
}
