import { statSync } from 'node:fs';

/** How often the files are looked at. Polling also sees the swapped links by which Kubernetes renews a mounted secret. */
const pollMs = 1000;

/** The settings of {@link WatchedFiles}. */
export interface WatchedFilesOptions<T> {
  readonly paths: readonly string[];
  /** Reads the files; what it throws at the start ends the start. */
  readonly read: () => T;
  /** Called with what was read again. */
  readonly onChange?: (value: T) => void;
  /** Called when what changed cannot be used: what was read before stays. */
  readonly onFailure: (error: unknown) => void;
}

/** What some files say, read again when one of them changes. */
export class WatchedFiles<T> implements Disposable {
  readonly #options: WatchedFilesOptions<T>;
  readonly #timer: NodeJS.Timeout;
  #state: string;
  #value: T;

  /** @throws what `read` throws */
  constructor(options: WatchedFilesOptions<T>) {
    this.#options = options;
    this.#state = stateOf(options.paths);
    this.#value = options.read();
    this.#timer = setInterval(() => this.#poll(), pollMs).unref();
  }

  /** What the files said when they could last be used. */
  get value(): T {
    return this.#value;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #poll(): void {
    const { paths, read, onChange, onFailure } = this.#options;
    const state = stateOf(paths);
    if (state === this.#state) return;
    // Also where it fails: the same bad content is told once.
    this.#state = state;
    try {
      this.#value = read();
      onChange?.(this.#value);
    } catch (error) {
      onFailure(error);
    }
  }
}

function stateOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
    })
    .join('\n');
}
