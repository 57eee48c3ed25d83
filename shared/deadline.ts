import { FerryError } from './errors.ts';

/** What a wait is for and how long it may take. */
export interface Deadline {
  /** What is being done, as in `Cannot <doing>: …`: "reach the hub at localhost:8883". */
  readonly doing: string;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends it earlier. */
  readonly signal?: AbortSignal;
}

/**
 * Runs work that must end in time; the work gets a signal that is aborted when the time is over or the caller's signal is.
 * The result or failure of work that comes too late is dropped.
 * @throws {FerryError} TIMEOUT when the time is over
 * @throws the reason of the caller's signal when that is aborted
 */
export async function withDeadline<T>(deadline: Deadline, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { doing, timeoutMs, signal } = deadline;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const abort = (reason: unknown): void => {
    reject(reason);
    controller.abort(reason);
  };
  const onAbort = (): void => abort(signal?.reason);
  const timer = setTimeout(
    () => abort(new FerryError('TIMEOUT', `Cannot ${doing}: not done after ${timeoutMs} ms, the longest it may take`)),
    timeoutMs,
  );
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(controller.signal), cut]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
