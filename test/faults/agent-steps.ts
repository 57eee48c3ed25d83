import { table } from '../../shared/text-layout.ts';
import type { Random } from '../random.ts';

/** A line of an agent's log, which says what it has just done: the next step has begun. */
export interface LogLine {
  readonly msg: string;
  readonly level: string;
  readonly atMs: number;
}

/** One moment at which an agent can be killed: after so many lines of its log, and so long after the last of them. */
export interface KillMoment {
  readonly lines: number;
  readonly step: string;
  /** How long the step took when nobody was killed, in milliseconds. */
  readonly tookMs: number;
}

/** The last step has no end that shows: the report goes out, and what is not used any more is removed. */
const lastStepMs = 200;
/** The longest that is waited within a step, in milliseconds. */
const stepMsMax = 1_500;

/** Reads the lines of an agent's log. */
export function logLines(output: string): LogLine[] {
  return output.split('\n').flatMap((line) => {
    if (!line.startsWith('{') || !line.endsWith('}')) return [];
    const { msg, level, time } = JSON.parse(line) as { msg: string; level: string; time: string };
    return [{ msg, level, atMs: Date.parse(time) }];
  });
}

/** Names the step that an agent is at by the last line of its log; every failure that it tells of is one. */
export function stepName(line: LogLine | undefined): string {
  if (line === undefined) return 'nothing told yet';
  return line.level === 'error' ? 'an error told' : line.msg.replace(/:.*/, '');
}

/** Counts the points at which agents were killed, and sees that each step of each kind of update gets its turn. */
export class KillPoints {
  readonly #random: Random;
  readonly #moments = new Map<string, readonly KillMoment[]>();
  readonly #counts = new Map<string, Map<string, number>>();
  #total = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get total(): number {
    return this.#total;
  }

  /** Learns which steps a kind of update has, from the log of an agent that was not killed. @param begunMs when it was deployed */
  learn(kind: string, lines: readonly LogLine[], begunMs: number): void {
    const starts = [begunMs, ...lines.map(({ atMs }) => atMs)];
    const moments = starts.map((atMs, index) => ({
      lines: index,
      step: stepName(lines[index - 1]),
      tookMs: Math.min((starts[index + 1] ?? atMs + lastStepMs) - atMs, stepMsMax),
    }));
    this.#moments.set(kind, moments);
    const counts = this.#countsOf(kind);
    for (const { step } of moments) if (!counts.has(step)) counts.set(step, 0);
  }

  /** Says whether it is known which steps a kind of update has. */
  knows(kind: string): boolean {
    return this.#moments.has(kind);
  }

  /** Gives how many steps of a kind nobody was killed at; more than there can be while they are not known. */
  open(kind: string): number {
    if (!this.knows(kind)) return Number.POSITIVE_INFINITY;
    return [...this.#countsOf(kind).values()].filter((count) => count === 0).length;
  }

  /** How many steps of the kinds that are known nobody was killed at. */
  get openSteps(): number {
    return [...this.#moments.keys()].reduce((sum, kind) => sum + this.open(kind), 0);
  }

  /** Gives a moment of a step of a kind at which agents were killed least often. */
  next(kind: string): KillMoment {
    const counts = this.#countsOf(kind);
    const moments = this.#moments.get(kind) ?? [];
    const fewest = Math.min(...moments.map(({ step }) => counts.get(step) ?? 0));
    const due = moments.filter(({ step }) => counts.get(step) === fewest);
    const moment = due[this.#random.below(Math.max(due.length, 1))];
    if (moment === undefined) throw new Error(`no steps of the kind "${kind}" are known`);
    return moment;
  }

  note(kind: string, step: string): void {
    const counts = this.#countsOf(kind);
    counts.set(step, (counts.get(step) ?? 0) + 1);
    this.#total += 1;
  }

  /** How often agents were killed at each step of each kind of update. */
  get table(): string {
    const rows = [...this.#counts].flatMap(([kind, counts]) =>
      [...counts].map(([step, count]): [string, string, number] => [kind, step, count]),
    );
    return table(['update', 'killed after', 'times'], rows);
  }

  #countsOf(kind: string): Map<string, number> {
    const counts = this.#counts.get(kind) ?? new Map<string, number>();
    this.#counts.set(kind, counts);
    return counts;
  }
}
