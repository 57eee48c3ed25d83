import { type ErrorCode, FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';

/**
 * What a status of storage says of a blob. Only what is wrong with the blob itself is a refusal, which a batch is put aside for after a
 * few of them; the rest concerns all blobs alike and passes.
 */
const codeOf: Readonly<Partial<Record<number, ErrorCode>>> = {
  401: 'STORAGE_DENIED',
  403: 'STORAGE_DENIED',
  404: 'STORAGE_DENIED',
  407: 'STORAGE_UNREACHABLE',
  408: 'STORAGE_UNREACHABLE',
  429: 'STORAGE_UNREACHABLE',
};

/**
 * Makes a failure with a code of what the storage SDK throws. The SDK's errors hold the request with its signature, so only the status,
 * code and address are taken over.
 * @param address of the blob, without its query
 * @returns STORAGE_REFUSED for what is wrong with the blob, STORAGE_DENIED where this device may store nothing, else STORAGE_UNREACHABLE
 */
export function storageError(thrown: unknown, address: string): FerryError {
  if (isFerryError(thrown)) return thrown;
  const status = statusOf(thrown);
  if (status !== undefined) {
    const code = codeOf[status] ?? (status >= 500 ? 'STORAGE_UNREACHABLE' : 'STORAGE_REFUSED');
    const detail =
      thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? ` ${thrown.code}` : '';
    return new FerryError(code, `Cannot store ${address}: the storage answers ${status}${detail}`);
  }
  const why = systemCodeOf(thrown) ?? (thrown instanceof Error ? thrown.name : 'unknown failure');
  return new FerryError('STORAGE_UNREACHABLE', `Cannot reach the storage to store ${address}`, {
    cause: new Error(why),
  });
}

function statusOf(thrown: unknown): number | undefined {
  const status = thrown instanceof Error && 'statusCode' in thrown ? thrown.statusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}
