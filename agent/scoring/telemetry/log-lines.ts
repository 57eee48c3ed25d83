import { pino } from 'pino';

/** Where a program's log goes: standard error, and whoever wants to hear of each line as well. */
export class LogLines {
  readonly #standardError = pino.destination({ dest: 2, sync: true });
  #listener: ((line: string) => void) | undefined;

  write(line: string): void {
    this.#standardError.write(line);
    this.#listener?.(line);
  }

  /** Tells of every line from now on. */
  tell(listener: ((line: string) => void) | undefined): void {
    this.#listener = listener;
  }
}
