import type { Clock } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import { passesByItself } from '../azure/hub-failure.ts';
import type { CommandResult } from '../cli/result.ts';

/** The settings of {@link watchTable}. */
export interface WatchOptions {
  readonly everyMs: number;
  /** Whether a document is written each time, in one line. */
  readonly json: boolean;
  /** Where to draw. */
  readonly stream: {
    readonly isTTY?: boolean;
    readonly rows?: number;
    readonly columns?: number;
    write(text: string): unknown;
  };
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

/** Terminal control: to the top left corner, and the rest of the line, the screen below, or all of it made blank (ECMA-48, 8.3.21, 8.3.41 and 8.3.39). */
const [home, restOfLine, below, all] = ['\u001b[H', '\u001b[K', '\u001b[J', '\u001b[2J'];
/** What a terminal is taken for that does not say how large it is: the classic one. */
const [rowsDefault, columnsDefault] = [24, 80];

/**
 * Draws what is seen again and again: on a terminal in the same place, elsewhere one after the other. A hub that is away for a while leaves what
 * was seen last; only the first look has to go well.
 * @throws the signal's reason, when it is aborted
 */
export async function watchTable(look: () => Promise<CommandResult>, options: WatchOptions): Promise<never> {
  const { everyMs, json, stream, clock, signal, note } = options;
  const isDrawn = stream.isTTY === true && !json;
  if (isDrawn) stream.write(all);
  let shown = '';
  for (let isFirst = true; ; isFirst = false) {
    let trouble: string | undefined;
    try {
      const seen = await look();
      shown = json ? JSON.stringify(seen.json) : seen.text;
    } catch (error) {
      signal.throwIfAborted();
      if (isFirst || !passesByItself(error)) throw error;
      trouble = `trying again: ${messageOf(error)}`;
    }
    if (isDrawn) {
      const head = `${new Date(clock.nowMs()).toISOString()}  ${trouble ?? `every ${everyMs / 1000} s, Ctrl-C ends it`}`;
      stream.write(screen([head, '', ...shown.split('\n')], sizeOf(stream)));
    } else if (trouble === undefined) stream.write(json ? `${shown}\n` : `${isFirst ? '' : '\n'}${shown}\n`);
    else note(trouble);
    await clock.sleep(everyMs, signal);
  }
}

/** Draws over what is there, so that nothing flickers. What does not fit is left out: it would push the top away. */
function screen(lines: readonly string[], { rows, columns }: ReturnType<typeof sizeOf>): string {
  const fitting = lines.slice(0, Math.max(1, rows - 1)).map((line) => line.slice(0, columns));
  return `${home}${fitting.map((line) => `${line}${restOfLine}\r\n`).join('')}${below}`;
}

/** A terminal may say that it is of no size. */
function sizeOf({ rows = 0, columns = 0 }: WatchOptions['stream']) {
  return { rows: rows > 0 ? rows : rowsDefault, columns: columns > 0 ? columns : columnsDefault };
}
