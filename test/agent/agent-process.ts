import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProgram } from '../../shared/programs.ts';

/** The agent's program in a process of its own, as a device runs it. */
export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
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
      stream?.on('data', (piece: Buffer) => (this.#output += piece.toString()));
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
