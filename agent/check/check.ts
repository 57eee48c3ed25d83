import { withDeadline } from '../../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';

/** What one check has found. */
export interface Finding {
  readonly outcome: 'ok' | 'warning' | 'error';
  /** What is, in a sentence's words. */
  readonly found: string;
  /** What to do about it. */
  readonly next?: string;
}

/** One thing that has to be right for the agent to do its work. */
export interface Check {
  readonly name: string;
  /** Gives what it found; what it throws is an error's finding. */
  readonly run: (signal: AbortSignal) => Promise<Finding>;
  /** What to do when it throws something that does not say so itself. */
  readonly next: string;
}

/** What a check has found, by its name. */
export interface CheckResult extends Finding {
  readonly name: string;
}

/** How long one check may take, in milliseconds. */
const checkTimeoutMs = 20_000;

/** Runs all checks at the same time; gives what they found in their order. */
export async function runChecks(checks: readonly Check[], signal: AbortSignal): Promise<CheckResult[]> {
  return Promise.all(
    checks.map(async ({ name, run, next }) => {
      try {
        const deadline = { doing: `check the ${name}`, timeoutMs: checkTimeoutMs, signal };
        return { name, ...(await withDeadline(deadline, run)) };
      } catch (error) {
        signal.throwIfAborted();
        const advice = error instanceof FerryError ? (error.next ?? next) : next;
        const cause = isFerryError(error) && error.cause !== undefined ? `: ${messageOf(error.cause)}` : '';
        return { name, outcome: 'error' as const, found: `${messageOf(error)}${cause}`, next: advice };
      }
    }),
  );
}
