import { FerryError, systemCodeOf } from '../errors.ts';

/** The operating system's ways to say that there is no more room: on the disk, or for this user on it. */
const fullCodes: readonly (string | undefined)[] = ['ENOSPC', 'EDQUOT'];

/**
 * Gives the error to throw for a write that failed: DISK_FULL when there is no room, else the failure as it is.
 * @param doing what failed, as in `Cannot <doing>: …`
 */
export function writeFailure(failure: unknown, doing: string): unknown {
  if (failure instanceof FerryError || !fullCodes.includes(systemCodeOf(failure))) return failure;
  return new FerryError('DISK_FULL', `Cannot ${doing}: no space is left on the disk`, {
    cause: failure,
    next: 'Free some space there and run the same command again; nothing of this try was left behind.',
  });
}
