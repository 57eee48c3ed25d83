import { readdir, readFile } from 'node:fs/promises';
import { markVariable } from './container-spec.ts';

/** What a container takes. */
export interface Usage {
  /** Processors. */
  readonly cpu: number;
  readonly memoryBytes: number;
}

/** Of Linux on every processor that Node runs on: sysconf(_SC_CLK_TCK) and the size of a page. */
const ticksPerSecond = 100;
const pageBytes = 4096;

/**
 * Measures what the processes of each container take, from `/proc`: they carry a mark in their environment, whatever engine runs them.
 * Elsewhere than on Linux, and of other users' processes, nothing is known.
 */
export class UsageMeter {
  readonly #marks = new Map<number, string | undefined>();
  #ticks = new Map<string, { ticks: number; atMs: number }>();
  #usage = new Map<string, Usage>();

  /** What a container took between the last two measurements. */
  of(name: string): Usage | undefined {
    return this.#usage.get(name);
  }

  /** Measures all. */
  async measure(): Promise<void> {
    const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
    const seen = new Map<string, { ticks: number; memoryBytes: number }>();
    for (const pid of this.#marks.keys()) if (!pids.includes(pid)) this.#marks.delete(pid);
    for (const pid of pids) {
      const mark = await this.#markOf(pid);
      if (mark === undefined) continue;
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      // The program's name is in brackets and may have any character.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const before = seen.get(mark) ?? { ticks: 0, memoryBytes: 0 };
      seen.set(mark, {
        ticks: before.ticks + Number(fields[11] ?? 0) + Number(fields[12] ?? 0),
        memoryBytes: before.memoryBytes + Number(fields[21] ?? 0) * pageBytes,
      });
    }
    const atMs = performance.now();
    this.#usage = new Map(
      [...seen].flatMap(([name, { ticks, memoryBytes }]): [string, Usage][] => {
        const before = this.#ticks.get(name);
        if (before === undefined) return [];
        const cpu = Math.max(0, ((ticks - before.ticks) / ticksPerSecond / (atMs - before.atMs)) * 1000);
        return [[name, { cpu, memoryBytes }]];
      }),
    );
    this.#ticks = new Map([...seen].map(([name, { ticks }]) => [name, { ticks, atMs }]));
  }

  /** Read once a process: its environment is what it was started with. */
  async #markOf(pid: number): Promise<string | undefined> {
    if (this.#marks.has(pid)) return this.#marks.get(pid);
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    const mark = new RegExp(`(?:^|\\0)${markVariable}=([^\\0]*)`).exec(environment)?.[1];
    // A process that has yet to become its program has no environment, and is looked at again.
    if (environment !== '') this.#marks.set(pid, mark);
    return mark;
  }
}
