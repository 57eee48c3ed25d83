import { z } from 'zod';

/** Lengths of time in milliseconds, by the letter that `since` and `until` write after a number. */
const unitMs: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 };

const regularExpression = z.string().transform((source, context) => {
  try {
    return new RegExp(source);
  } catch {
    context.addIssue(`"${source}" is no regular expression`);
    return z.NEVER;
  }
});

/** A time as IoT Edge writes it: how long ago ("1d", "2h 30m"), RFC 3339, or seconds since 1970. Gives what it is at a given now. */
const time = z.union([z.string(), z.number()]).transform((given, context) => {
  const text = String(given).trim();
  if (/^\d{9,}$/.test(text)) return () => Number(text) * 1000;
  const parts = text.match(/^(?:\d+\s*[dhms]\w*\s*)+$/) === null ? [] : [...text.matchAll(/(\d+)\s*([dhms])\w*/g)];
  if (parts.length > 0) {
    const agoMs = parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (unitMs[unit] ?? 0), 0);
    return (nowMs: number) => nowMs - agoMs;
  }
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return () => at;
  context.addIssue(`"${text}" is no time: a length such as "90m", RFC 3339, or seconds since 1970 was wanted`);
  return z.NEVER;
});

/** Which of a module's lines are wanted. */
export const logFilterSchema = z.strictObject({
  tail: z.int().positive().nullish(),
  since: time.nullish(),
  until: time.nullish(),
  /** Of syslog: 0 emergency to 7 debug. */
  loglevel: z.int().min(0).max(7).nullish(),
  regex: regularExpression.nullish(),
});

/** Which modules' logs are wanted, and which lines of them. */
export const logItemSchema = z.object({
  /** A regular expression over names of modules. */
  id: regularExpression,
  filter: logFilterSchema.nullish(),
});

/** See {@link logItemSchema}. */
export type LogItem = z.infer<typeof logItemSchema>;

/** Level of a line that names none: informational (syslog). */
const usualLevel = 6;

/** Levels of pino's lines, and the syslog levels that they stand for. */
const namedLevels: Readonly<Record<string, number>> = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

/** Finds a line's level: `<n>` before it (syslog, IoT Edge's own modules), or the field `level` of JSON. */
export function levelOf(line: string): number {
  const prefix = /^<([0-7])>/.exec(line)?.[1];
  if (prefix !== undefined) return Number(prefix);
  const name = /"level"\s*:\s*"(\w+)"/.exec(line)?.[1];
  return namedLevels[name ?? ''] ?? usualLevel;
}

/** Says whether a line is wanted, as far as its text says. */
export function isWanted(line: string, filter: LogItem['filter']): boolean {
  if (typeof filter?.loglevel === 'number' && levelOf(line) !== filter.loglevel) return false;
  return filter?.regex?.test(line) ?? true;
}
