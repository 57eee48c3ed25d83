import { type Clock, systemClock } from '../../shared/clock.ts';

/** How often a bar is drawn again at most, in milliseconds. */
const redrawMs = 100;
/** No bar for what is done sooner than this, in milliseconds. */
const patienceMs = 1_000;
const barColumns = 30;

/** Shows how far a long step is, on standard error where that is a terminal, else nothing. */
export interface Progress extends Disposable {
  /** Tells how much of the whole is done; both in the same unit. */
  update(done: number, total: number): void;
}

/** The settings of {@link startProgress}. */
export interface ProgressOptions {
  /** Where to draw. @default standard error */
  readonly stream?: { readonly isTTY?: boolean; write(text: string): unknown };
  /** Writes an amount for people. @default the plain number */
  readonly format?: (amount: number) => string;
  /** @default the machine's own */
  readonly clock?: Clock;
}

/** Starts a progress bar; disposing of it wipes it off. */
export function startProgress(label: string, options: ProgressOptions = {}): Progress {
  const { stream = process.stderr, format = String, clock = systemClock } = options;
  if (stream.isTTY !== true) return { update: () => {}, [Symbol.dispose]: () => {} };
  const startMs = clock.monotonicMs();
  let drawnMs = 0;
  return {
    update(done, total) {
      const nowMs = clock.monotonicMs();
      if (nowMs - startMs < patienceMs || nowMs - drawnMs < redrawMs) return;
      drawnMs = nowMs;
      stream.write(`\r\u001b[K${label} ${barText(done, total)} ${format(done)} of ${format(total)}`);
    },
    [Symbol.dispose]() {
      if (drawnMs > 0) stream.write('\r\u001b[K');
    },
  };
}

function barText(done: number, total: number): string {
  const share = total > 0 ? Math.min(done / total, 1) : 1;
  const filled = Math.round(share * barColumns);
  return `[${'#'.repeat(filled)}${'.'.repeat(barColumns - filled)}] ${Math.floor(share * 100)}%`;
}
