import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** What one run of load has shown. */
export interface Load {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A request that is sent again and again. */
export interface LoadRequest {
  readonly url: string;
  /** File of the body. */
  readonly bodyFile: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
  /** The core that the generator stays on. @default any */
  readonly core?: number;
}

const execute = promisify(execFile);
const microsecondsOf = { us: 1, ms: 1000, s: 1_000_000 } as const;

/** Generators that run at once have a script each. */
let scripts = 0;

/**
 * Puts load on a server by `wrk`, a process in C of one thread: on a machine of two cores a generator in Node would be what is measured.
 * @throws where an answer was no 200, or `wrk` is not installed
 */
export async function putLoad({ url, bodyFile, headers, connections, seconds, core }: LoadRequest): Promise<Load> {
  scripts += 1;
  const script = `${bodyFile}.${scripts}.lua`;
  const lines = Object.entries(headers).map(([name, value]) => `wrk.headers["${name}"] = "${value}"`);
  await writeFile(
    script,
    `wrk.method = "POST"\nwrk.body = io.open("${bodyFile}", "rb"):read("*a")\n${lines.join('\n')}\n`,
  );
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '--latency', '-s', script, url];
  const { stdout } = await (core === undefined
    ? execute('wrk', args)
    : execute('taskset', ['--cpu-list', String(core), 'wrk', ...args]));
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`not every request was answered with 200:\n${stdout}`);
  return {
    requestsPerSecond: Number(found(stdout, /Requests\/sec:\s+([\d.]+)/)[0]),
    p50Ms: milliseconds(found(stdout, /50%\s+([\d.]+)(us|ms|s)/)),
    p99Ms: milliseconds(found(stdout, /99%\s+([\d.]+)(us|ms|s)/)),
  };
}

function found(text: string, pattern: RegExp): string[] {
  const match = pattern.exec(text);
  if (match === null) throw new Error(`wrk said no ${pattern.source}:\n${text}`);
  return match.slice(1);
}

function milliseconds([value, unit]: readonly string[]): number {
  return (Number(value) * microsecondsOf[unit as keyof typeof microsecondsOf]) / 1000;
}
