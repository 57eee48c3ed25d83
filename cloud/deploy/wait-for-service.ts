import { type Clock, systemClock } from '../../shared/clock.ts';
import { FerryError } from '../../shared/errors.ts';
import { describeState, type ServiceStatus } from './service-state.ts';

/** Pauses between two looks, in milliseconds. */
const pauseMsMin = 50;
const pauseGrowth = 1.5;
/** The longest: at first, where somebody waits for a start of seconds, and later. */
const pauseMsMax = { soon: 250, later: 1_000, afterMs: 15_000 };
/** The longest where looks are counted; it keeps within what a hub of the smallest size allows in a minute. */
const countedPauseMsMax = 5_000;
/** How long a service may be Unhealthy without a break before that is taken as its failure, in milliseconds. */
const unhealthyMsMax = 15_000;

/** What to wait for and how long. */
export interface WaitOptions {
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Whether the target allows few looks in a minute. @default many */
  readonly isCounted?: boolean;
  /** Looks at the service. */
  readonly observe: () => Promise<ServiceStatus>;
  /** Told when what is seen changes. */
  readonly note: (line: string) => void;
  /** @default the machine's clock */
  readonly clock?: Clock;
}

/**
 * Waits until a service is Healthy.
 * @throws {FerryError} SERVICE_FAILED as soon as it has failed on a device, or was Unhealthy for 15 s, with what the device says
 * @throws {FerryError} TIMEOUT when the time is over, with what it was waiting for
 */
export async function waitForService(options: WaitOptions): Promise<ServiceStatus> {
  const { name, timeoutMs, signal, observe, note, clock = systemClock } = options;
  const startMs = clock.monotonicMs();
  const endMs = startMs + timeoutMs;
  let pauseMs = pauseMsMin;
  let said = '';
  let unhealthySinceMs: number | undefined;
  for (;;) {
    const seen = await observe();
    const nowMs = clock.monotonicMs();
    const line = describeState(seen);
    if (line !== said) note(`${name}: ${(said = line)}`);
    if (seen.state === 'Healthy') return seen;
    unhealthySinceMs = seen.state === 'Unhealthy' ? (unhealthySinceMs ?? nowMs) : undefined;
    if (seen.state === 'Failed' || (unhealthySinceMs !== undefined && nowMs - unhealthySinceMs >= unhealthyMsMax)) {
      throw new FerryError('SERVICE_FAILED', `Cannot bring the service "${name}" up: it is ${line}`, {
        next: `See it whole with \`ferry service show ${name}\`.`,
      });
    }
    if (nowMs >= endMs) {
      throw new FerryError(
        'TIMEOUT',
        `Cannot wait longer for the service "${name}": after ${timeoutMs / 1000} s it is ${line}, Healthy was wanted`,
      );
    }
    await clock.sleep(Math.min(pauseMs, endMs - nowMs), signal);
    pauseMs = Math.min(pauseMs * pauseGrowth, longestPauseMs(nowMs - startMs, options));
  }
}

function longestPauseMs(passedMs: number, { isCounted = false }: WaitOptions): number {
  if (isCounted) return countedPauseMsMax;
  return passedMs < pauseMsMax.afterMs ? pauseMsMax.soon : pauseMsMax.later;
}
