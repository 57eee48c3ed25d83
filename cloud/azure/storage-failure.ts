import { RestError } from '@azure/storage-blob';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';

/** What was being done with which storage, for the message of a failure. */
export interface StorageAttempt {
  /** As in `Cannot <doing>`: `list the blobs of "modeldata"`. */
  readonly doing: string;
  /** Address of the blob endpoint, without a query. */
  readonly address: string;
}

/**
 * Turns a failure of the storage client into one that says which storage it was; what is none of the storage's failures
 * comes back as it is. The client's own error is not kept as the cause: it holds the request with its signature.
 */
export function storageFailure(thrown: unknown, attempt: StorageAttempt): unknown {
  const { doing, address } = attempt;
  if (isFerryError(thrown, 'TIMEOUT')) return unreachable(attempt, thrown.message);
  if (!(thrown instanceof RestError)) return thrown;
  if (thrown.statusCode === undefined) {
    return unreachable(attempt, systemCodeOf(thrown) ?? thrown.code ?? 'no answer');
  }
  const code = typeof thrown.code === 'string' ? ` ${thrown.code}` : '';
  return new FerryError(
    'STORAGE_REFUSED',
    `Cannot ${doing}: the storage at ${address} answered ${thrown.statusCode}${code}`,
    refusals[thrown.statusCode] === undefined ? {} : { next: refusals[thrown.statusCode] ?? '' },
  );
}

const refusals: Readonly<Record<number, string>> = {
  403: "Check the account's key in the workspace's storage connection string, and this machine's clock.",
  404: 'Check the name of the container; a hub makes it with the first upload.',
};

function unreachable({ doing, address }: StorageAttempt, found: string): FerryError {
  return new FerryError('STORAGE_UNREACHABLE', `Cannot ${doing}: nothing usable answers at ${address} (${found})`, {
    next: 'Check that the storage is up (`ferry up` for the local one) and that this machine may reach it.',
  });
}
