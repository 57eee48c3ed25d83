import { FerryError } from '../errors.ts';

/**
 * Aborts work in which nothing has moved for some time. Something of ten gigabytes may take an hour, as long as it moves.
 * Ends with `using`.
 */
export class IdleLimit implements Disposable {
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param doing what is being done, as in `Cannot <doing>: …`
   * @param signal ends it earlier
   */
  constructor(doing: string, idleMsMax: number, signal?: AbortSignal) {
    const controller = new AbortController();
    this.signal = signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]);
    const late = new FerryError(
      'TIMEOUT',
      `Cannot ${doing}: nothing moved for ${idleMsMax} ms, the longest it may stand still`,
    );
    this.#timer = setTimeout(() => controller.abort(late), idleMsMax);
  }

  /** Something moved. */
  touch(): void {
    this.#timer.refresh();
  }

  /** Passes pieces on and takes each as a movement. */
  async *watch(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const piece of source) {
      this.touch();
      yield piece;
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
