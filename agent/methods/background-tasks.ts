import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { messageOf } from '../../shared/errors.ts';
import { type MethodAnswer, schemaVersion } from './method.ts';

/** How a task is, in IoT Edge's words. */
export interface TaskStatus {
  readonly status: 'Running' | 'Completed' | 'Failed' | 'Unknown';
  /** Why it failed; else empty. */
  readonly message: string;
  readonly correlationId: string;
}

/** How many tasks are remembered, those under way among them. */
const tasksMax = 64;
/** How many tasks may be under way. */
const runningMax = 4;
/** How long a task may take, in milliseconds: a slow link and hundreds of megabytes. */
const taskTimeoutMs = 30 * 60_000;

const statusSchema = z.object({ schemaVersion, correlationId: z.string().min(1) });

/** What direct methods have begun and go on with after their answer. */
export class BackgroundTasks {
  readonly #tasks = new Map<string, TaskStatus>();
  readonly #signal: AbortSignal;

  /** @param signal ends all tasks */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Begins a task and says how it is called; one that is too many has failed at once. */
  start(work: (signal: AbortSignal) => Promise<void>): TaskStatus {
    const correlationId = randomUUID();
    const running = [...this.#tasks.values()].filter(({ status }) => status === 'Running').length;
    if (running >= runningMax) {
      return {
        status: 'Failed',
        message: `${running} tasks are under way, which is the most there may be`,
        correlationId,
      };
    }
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(taskTimeoutMs)]);
    const begun = this.#note({ status: 'Running', message: '', correlationId });
    void work(signal).then(
      () => this.#note({ status: 'Completed', message: '', correlationId }),
      (error: unknown) => this.#note({ status: 'Failed', message: messageOf(error), correlationId }),
    );
    return begun;
  }

  /** Says how a task is; `Unknown` for one that there never was, or that was long ago. */
  statusOf(correlationId: string): TaskStatus {
    return this.#tasks.get(correlationId) ?? { status: 'Unknown', message: '', correlationId };
  }

  #note(task: TaskStatus): TaskStatus {
    this.#tasks.set(task.correlationId, task);
    for (const [id, { status }] of this.#tasks) {
      if (this.#tasks.size <= tasksMax) break;
      if (status !== 'Running') this.#tasks.delete(id);
    }
    return task;
  }
}

/** Answers `GetTaskStatus`. */
export function backgroundTaskStatus(payload: unknown, tasks: BackgroundTasks): MethodAnswer {
  return { status: 200, payload: tasks.statusOf(statusSchema.parse(payload).correlationId) };
}
