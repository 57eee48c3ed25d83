/** The settings of {@link inParallel}. */
interface InParallelOptions {
  /** How many at most are worked on at the same time. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
}

/** Works on all items, some at once. The first failure ends the others, and is thrown when they have ended. */
export async function inParallel<T>(
  items: readonly T[],
  options: InParallelOptions,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const signal = AbortSignal.any([options.signal, controller.signal]);
  const waiting = [...items];
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined && failure === undefined; item = waiting.shift()) {
      try {
        await work(item, signal);
      } catch (error) {
        failure ??= { error };
        controller.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.atOnce, items.length) }, worker));
  options.signal.throwIfAborted();
  if (failure !== undefined) throw failure.error;
}
