import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../shared/programs.ts';

/** The agent's program in a process of its own, as a device runs it. */
export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #watchers = new Set<() => void>();
  #output = '';

  /**
   * @param args after `run`
   * @param through command that runs it
   */
  constructor(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    through: readonly string[] = [],
  ) {
    const [program = '', ...rest] = [...through, process.execPath, findProgram('agent').path, 'run', ...args];
    this.#child = spawn(program, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FERRY_DEVICE_CONNECTION_STRING: '', ...environment },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (piece: Buffer) => {
        this.#output += piece.toString();
        for (const watcher of this.#watchers) watcher();
      });
    }
    this.#exited = once(this.#child, 'close');
  }

  /** What it has written to standard output and standard error so far. */
  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Kills it as soon as its output is so, or some time after that; also when it was not so in time. Comes back when it has ended. */
  async killWhen(
    isSo: (output: string) => boolean,
    { afterMs, timeoutMs }: { readonly afterMs: number; readonly timeoutMs: number },
  ): Promise<void> {
    const due = Promise.withResolvers<void>();
    const look = (): void => void (isSo(this.#output) && due.resolve());
    this.#watchers.add(look);
    look();
    // Whoever is late by a timer's tick misses the short steps.
    const kill = (): void => this.signal('SIGKILL');
    await Promise.race([
      due.promise.then(() => (afterMs < 1 ? kill() : sleep(afterMs))),
      sleep(timeoutMs, undefined, { ref: false }),
    ]);
    this.#watchers.delete(look);
    kill();
    await this.#exited;
  }

  /** Waits for its end and gives its exit code; null when a signal ended it. */
  async exitCode(): Promise<number | null> {
    await this.#exited;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
