import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';

/** How long a server may take until it answers. */
const readyTimeoutMs = 30_000;

/** A server that is measured, in a process of its own. */
export class MeasuredProcess implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;
  /** From starting the process to its first answer that it is ready. */
  readonly readyMs: number;

  private constructor(child: ChildProcess, url: string, readyMs: number) {
    this.#child = child;
    this.url = url;
    this.readyMs = readyMs;
  }

  /** Starts a server that listens at `port`, and waits until `path` is answered with 200. */
  static async start(of: {
    readonly command: string;
    readonly args: (port: number) => readonly string[];
    readonly environment?: (port: number) => NodeJS.ProcessEnv;
    readonly path: string;
  }): Promise<MeasuredProcess> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const startMs = performance.now();
    const child = spawn(of.command, [...of.args(port)], {
      env: { ...process.env, ...of.environment?.(port) },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    while (!(await answers(url + of.path))) {
      if (child.exitCode !== null) throw new Error(`"${of.command}" ended with ${child.exitCode}`);
      if (performance.now() > startMs + readyTimeoutMs) throw new Error(`"${of.command}" is not ready in time`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return new MeasuredProcess(child, url, performance.now() - startMs);
  }

  /** Processes of it: itself and those that it started. */
  get processes(): number {
    return 1 + childrenOf(this.#child.pid ?? 0).length;
  }

  /** Memory that the process and those that it started occupy, in MB. */
  get residentMb(): number {
    const all = [this.#child.pid ?? 0, ...childrenOf(this.#child.pid ?? 0)];
    return all.reduce((sum, id) => sum + residentMbOf(id), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const { ok, body } = await fetch(url);
    await body?.cancel();
    return ok;
  } catch {
    return false;
  }
}

function childrenOf(id: number): number[] {
  const own = readFileSync(`/proc/${id}/task/${id}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return own.flatMap((child) => [child, ...childrenOf(child)]);
}

function residentMbOf(id: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / 1000;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
