import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError } from '../../shared/errors.ts';
import { findProgram } from '../../shared/programs.ts';
import { systemClock } from '../../shared/clock.ts';

/** The longest that one command of the journey may take, in milliseconds. */
const commandTimeoutMs = 120_000;
/** How long a program may take to end after SIGTERM before it is killed, in milliseconds. */
const endTimeoutMs = 20_000;
/** How often a condition is looked at, in milliseconds. */
const pollMs = 100;

/** The settings of {@link openStage}. */
export interface StageOptions {
  readonly signal: AbortSignal;
  /** Tells the user one line. */
  readonly say: (line: string) => void;
}

/** A program that goes on in the background; it ends with the stage. */
export interface BackgroundProgram {
  readonly pid: number;
  /** What it has written to standard output so far. */
  output(): Promise<string>;
  /** What it has written to standard error so far. */
  log(): Promise<string>;
}

/**
 * Where the journey takes place: a new folder, the `ferry` commands that are run in it, and the programs that they leave in the
 * background. Disposing of it ends those, newest first, and removes the folder, unless it is to be kept.
 */
export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly #say: (line: string) => void;
  readonly #running: Running[] = [];
  readonly #cleaning: (readonly string[])[] = [];
  #kept = false;

  constructor(folder: string, options: StageOptions) {
    this.folder = folder;
    this.signal = options.signal;
    this.#say = options.say;
  }

  /** Does one step of the journey and tells how long it took; the work gives what it did, one line each. */
  async step<T>(
    title: string,
    work: () => Promise<{ readonly did: readonly string[]; readonly value: T }>,
  ): Promise<T> {
    this.#say(`\n== ${title}`);
    const startMs = performance.now();
    const { did, value } = await work();
    for (const line of did) this.#say(`   ${line}`);
    this.#say(`   ${((performance.now() - startMs) / 1000).toFixed(2)} s`);
    return value;
  }

  /** Shows a command as a user would type it. */
  show(args: readonly string[]): void {
    this.#say(` $ ferry ${args.map(quoted).join(' ')}`);
  }

  /**
   * Runs a `ferry` command to its end and gives its JSON result.
   * @throws {FerryError} STEP_FAILED with what it wrote to standard error when it does not exit with 0
   */
  async ferry(args: readonly string[]): Promise<unknown> {
    this.show(args);
    return this.ferryQuietly(args);
  }

  /** The same without showing it, for commands that are asked again and again. */
  async ferryQuietly(args: readonly string[]): Promise<unknown> {
    return withDeadline(
      { doing: `run "ferry ${args[0]} ${args[1]}"`, timeoutMs: commandTimeoutMs, signal: this.signal },
      async (signal) => {
        const child = spawn(process.execPath, [...ferryCommand(), ...args, '--json'], {
          cwd: this.folder,
          stdio: ['ignore', 'pipe', 'pipe'],
          signal,
        });
        child.once('error', () => {}); // An abort is told by the deadline.
        const exited = once(child, 'close') as Promise<[number | null]>;
        const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
        if (code === 0) return JSON.parse(output) as unknown;
        throw new FerryError('STEP_FAILED', `Cannot go on: "ferry ${args.join(' ')}" failed\n${errors.trimEnd()}`);
      },
    );
  }

  /** Starts a `ferry` command that goes on in the background, its output in files of the folder. */
  start(name: string, args: readonly string[]): BackgroundProgram {
    this.show(args);
    const paths = { output: join(this.folder, `${name}.out`), log: join(this.folder, `${name}.log`) };
    const output = openSync(paths.output, 'a');
    const log = openSync(paths.log, 'a');
    const child = spawn(process.execPath, [...ferryCommand(), ...args], {
      cwd: this.folder,
      // A process group of its own: Ctrl-C comes here, and here it is decided what ends when.
      detached: true,
      stdio: ['ignore', output, log],
    });
    closeSync(output);
    closeSync(log);
    const { pid } = child;
    if (pid === undefined) throw new FerryError('STEP_FAILED', `Cannot start "ferry ${args.join(' ')}"`);
    this.#running.push({ name, pid, child, exited: once(child, 'exit') });
    return {
      pid,
      output: () => readFile(paths.output, 'utf8'),
      log: () => readFile(paths.log, 'utf8'),
    };
  }

  /** Has a command run when the stage ends, however it ends, after the programs in the background have. */
  cleanBy(args: readonly string[]): void {
    this.#cleaning.push(args);
  }

  /**
   * Asks again and again until there is an answer.
   * @throws {FerryError} STEP_FAILED when a program in the background has ended meanwhile
   * @throws {FerryError} TIMEOUT
   */
  async until<T>(doing: string, timeoutMs: number, ask: () => Promise<T | undefined>): Promise<T> {
    return withDeadline({ doing, timeoutMs, signal: this.signal }, async (signal) => {
      for (;;) {
        const answer = await ask();
        if (answer !== undefined) return answer;
        await this.#assertAllRun();
        await systemClock.sleep(pollMs, signal);
      }
    });
  }

  /** Leaves everything up when the stage ends, and tells how to go on with it. */
  keep(address: string): string {
    this.#kept = true;
    for (const { child } of this.#running) child.unref();
    const pids = this.#running.map(({ pid }) => pid).toReversed();
    const lines: [string, string][] = [
      [`curl ${address}/swagger.json`, 'what the service takes'],
      [`export FERRY_WORKSPACE=${this.folder}`, 'then go on with ferry, for example: ferry service show digits'],
      [`kill ${pids.join(' ')}`, 'ends it'],
      ...this.#cleaning.map((args): [string, string] => [
        `(cd ${this.folder} && ferry ${args.join(' ')})`,
        'then takes the agent off',
      ]),
    ];
    const width = Math.max(...lines.map(([command]) => command.length));
    return ['All of it is still up:', ...lines.map(([command, what]) => `  ${command.padEnd(width)}  # ${what}`)].join(
      '\n',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#kept) return;
    for (const { pid, exited } of this.#running.toReversed()) {
      if (!isRunning(pid)) continue;
      process.kill(pid, 'SIGTERM');
      const killing = setTimeout(() => process.kill(pid, 'SIGKILL'), endTimeoutMs);
      await exited;
      clearTimeout(killing);
    }
    for (const args of this.#cleaning.toReversed()) await this.#clean(args);
    await rm(this.folder, { recursive: true, force: true });
  }

  async #clean(args: readonly string[]): Promise<void> {
    const child = spawn(process.execPath, [...ferryCommand(), ...args], { cwd: this.folder, stdio: 'ignore' });
    await once(child, 'exit');
  }

  async #assertAllRun(): Promise<void> {
    for (const { name, pid } of this.#running) {
      if (isRunning(pid)) continue;
      const log = await readFile(join(this.folder, `${name}.log`), 'utf8');
      throw new FerryError('STEP_FAILED', `Cannot go on: "ferry ${name}" has ended\n${log.trimEnd()}`);
    }
  }
}

interface Running {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
}

/** Makes a stage in a new folder. */
export async function openStage(options: StageOptions): Promise<Stage> {
  return new Stage(await mkdtemp(join(tmpdir(), 'ferry-quickstart-')), options);
}

function ferryCommand(): string[] {
  return [...process.execArgv, findProgram('ferry').path];
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function quoted(argument: string): string {
  return /^[\w./:=,@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", String.raw`'\''`)}'`;
}
