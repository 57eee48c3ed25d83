import type { LogSelection } from '../engine.ts';

/** A time that a line begins with, or has as its field `time` (pino, and most that write JSON). */
const timePattern = /^(?:<\d>\s*)?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*)|"time"\s*:\s*"?([^",}]+)/;

/**
 * Keeps the lines of a text that are from between two times, as they say themselves: a process writes to its log without anybody between who
 * could note when. A line without a time is of the time of the one before it; lines before the first time are kept.
 */
export function withinTimes(text: string, { sinceMs, untilMs }: Pick<LogSelection, 'sinceMs' | 'untilMs'>): string {
  if (sinceMs === undefined && untilMs === undefined) return text;
  let isWithin = true;
  return text
    .split('\n')
    .filter((line) => {
      const atMs = timeOf(line);
      if (atMs !== undefined) isWithin = atMs >= (sinceMs ?? -Infinity) && atMs < (untilMs ?? Infinity);
      return isWithin;
    })
    .join('\n');
}

function timeOf(line: string): number | undefined {
  const found = timePattern.exec(line);
  const text = found?.[1] ?? found?.[2];
  if (text === undefined) return undefined;
  const atMs = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isNaN(atMs) ? undefined : atMs;
}
