import { type Command, InvalidArgumentError, Option } from 'commander';
import { positiveInteger } from '../cli/session.ts';
import { type DataFilter, designations } from '../data/blob-path.ts';

/** The flags of {@link addFilter}, as `commander` names them. */
export interface FilterFlags extends Omit<DataFilter, 'fromMs' | 'beforeMs'> {
  readonly from?: number;
  readonly to?: number;
}

/** Adds the options that say which rows are meant, but `--service`. */
export function addFilter(verb: Command): Command {
  return verb
    .option('--model <name>', 'only of this model', pathPart)
    .option('--version <number>', 'only of this version of the model', positiveInteger)
    .addOption(new Option('--designation <name>', 'only rows of this kind').choices(designations))
    .option('--device <id>', 'only from this device', pathPart)
    .option(
      '--from <time>',
      'first day or moment, in UTC: 2026-11-01 or 2026-11-01T09:30',
      (text) => timeSpan(text).fromMs,
    )
    .option(
      '--to <time>',
      'last day, which is included, or the moment that ends it',
      (text) => timeSpan(text).beforeMs,
    );
}

/** Gives what the flags mean. */
export function filterOf({ from, to, ...filter }: FilterFlags): DataFilter {
  return { ...filter, ...(from === undefined ? {} : { fromMs: from }), ...(to === undefined ? {} : { beforeMs: to }) };
}

/** Reads one part of a blob's path. */
export function pathPart(text: string): string {
  if (text === '' || text.includes('/')) {
    throw new InvalidArgumentError(`It is "${text}", a name without "/" was wanted.`);
  }
  return text;
}

/** Reads a day or a moment, in UTC: the first moment of it, and the one after its last. */
function timeSpan(text: string): { readonly fromMs: number; readonly beforeMs: number } {
  const [, date, time = ''] = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}(?::\d{2})?)Z?)?$/.exec(text) ?? [];
  const start = `${date}T${(time === '' ? '00:00' : time).padEnd(8, ':00')}.000Z`;
  const fromMs = Date.parse(start);
  // A date that does not exist, such as 30 February, is taken as another one by `Date`.
  if (Number.isNaN(fromMs) || new Date(fromMs).toISOString() !== start) {
    throw new InvalidArgumentError(
      `It is "${text}", a day or moment such as 2026-11-22 or 2026-11-22T09:30 was wanted.`,
    );
  }
  return { fromMs, beforeMs: time === '' ? fromMs + 86_400_000 : fromMs };
}
