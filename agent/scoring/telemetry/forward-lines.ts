import type { ScoringSettings } from '../settings.ts';
import { messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { LogLines } from './log-lines.ts';
import type { Telemetry } from './telemetry.ts';

/** Lines that may wait while the packages that send them are loaded. */
const waitingMax = 100;

/** How long the last lines get at the end. */
const closeTimeoutMs = 1000;

/**
 * Sends the lines of a worker's log, which has few: what sends them is loaded at the first.
 * @returns what sends the last lines, and ends
 */
export function forwardLines(
  settings: ScoringSettings,
  { lines, log }: { readonly lines: LogLines; readonly log: Logger },
): () => Promise<void> {
  if (settings.telemetry === undefined) return () => Promise.resolve();
  const waiting: string[] = [];
  let starting: Promise<Telemetry | undefined> | undefined;
  lines.tell((line) => {
    if (waiting.length < waitingMax) waiting.push(line);
    starting ??= startTelemetry(settings, log).then(
      (telemetry) => {
        for (const early of waiting) telemetry?.line(early);
        lines.tell((late) => telemetry?.line(late));
        return telemetry;
      },
      (error: unknown) => {
        lines.tell(undefined);
        log.warn({ reason: messageOf(error), telemetry: true }, 'could not start to send the log');
        return undefined;
      },
    );
  });
  return async () => (await starting)?.close(closeTimeoutMs);
}

/** Starts what sends traces and logs, where they go anywhere. */
export async function startTelemetry(settings: ScoringSettings, log: Logger): Promise<Telemetry | undefined> {
  const { telemetry, service, serviceVersion, workspace } = settings;
  if (telemetry === undefined) return undefined;
  const { Telemetry } = await import('./telemetry.ts');
  return await Telemetry.start({
    settings: telemetry,
    service,
    serviceVersion,
    workspace,
    onFailure: (reason) => log.warn({ reason, telemetry: true }, 'could not send traces or logs'),
  });
}
