import { HubError } from '../hub-error.ts';
import { type Row, evaluate, holds } from './evaluate.ts';
import { type Expression, type Query, type SelectItem, aggregates } from './parser.ts';

/** A row with the key that it is ordered by. */
export interface KeyedRow {
  readonly key: string;
  readonly row: Row;
}

/** What a page of results begins after; callers see it as one opaque string. */
export interface Continuation {
  readonly after: string;
  readonly given: number;
}

/** A page of a query's results. */
export interface Page {
  readonly rows: readonly Row[];
  /** Absent on the last page. */
  readonly next: Continuation | undefined;
}

/**
 * Runs a query over rows and gives one page.
 *
 * Pages go by key and not by place, so that what is added or removed between two pages neither repeats nor hides others.
 */
export function runQuery(
  query: Query,
  rows: Iterable<KeyedRow>,
  page: { readonly size: number; readonly from: Continuation | undefined },
): Page {
  const { size, from } = page;
  const found = isAggregated(query) ? groupsOf(query, rows) : matchesOf(query, rows);
  const rest = found
    .filter(({ key }) => from === undefined || key > from.after)
    .sort((left, right) => (left.key < right.key ? -1 : 1));
  const given = from?.given ?? 0;
  const left = Math.max(0, (query.top ?? Number.POSITIVE_INFINITY) - given);
  const here = rest.slice(0, Math.min(size, left));
  const last = here.at(-1);
  const hasMore = last !== undefined && rest.length > here.length && left > here.length;
  return {
    rows: here.map(({ row }) => row),
    next: hasMore ? { after: last.key, given: given + here.length } : undefined,
  };
}

/** Counts the rows that a query finds, before any grouping. */
export function countRows(query: Query, rows: Iterable<KeyedRow>): number {
  let count = 0;
  for (const { row } of rows) if (holds(query.where, row)) count += 1;
  return count;
}

function isAggregated(query: Query): boolean {
  return (
    query.groupBy.length > 0 || (query.select !== '*' && query.select.some((item) => isAggregate(item.expression)))
  );
}

function isAggregate(expression: Expression): boolean {
  return expression.kind === 'call' && aggregates.some((name) => name === expression.name);
}

function matchesOf(query: Query, rows: Iterable<KeyedRow>): KeyedRow[] {
  const found: KeyedRow[] = [];
  for (const { key, row } of rows) {
    if (holds(query.where, row)) found.push({ key, row: query.select === '*' ? row : project(query.select, [row]) });
  }
  return found;
}

function groupsOf(query: Query, rows: Iterable<KeyedRow>): KeyedRow[] {
  if (query.select === '*') throw new HubError('ArgumentInvalid', 'SELECT * cannot be grouped');
  const groups = new Map<string, Row[]>();
  // Without GROUP BY there is one group, even of nothing.
  if (query.groupBy.length === 0) groups.set('', []);
  for (const { row } of rows) {
    if (!holds(query.where, row)) continue;
    const key =
      query.groupBy.length === 0
        ? ''
        : JSON.stringify(query.groupBy.map((expression) => evaluate(expression, row) ?? null));
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  const { select } = query;
  return [...groups].map(([key, group]) => ({ key, row: project(select, group) }));
}

/** Makes one result row of the rows of a group; a plain column is that of the first. */
function project(items: readonly SelectItem[], group: readonly Row[]): Row {
  const columns = items.map(({ name, expression }) => {
    if (expression.kind === 'call' && isAggregate(expression)) return [name, aggregate(expression, group)] as const;
    const [first] = group;
    return [name, first === undefined ? undefined : evaluate(expression, first)] as const;
  });
  return Object.fromEntries(columns.filter(([, value]) => value !== undefined));
}

function aggregate(call: Extract<Expression, { readonly kind: 'call' }>, group: readonly Row[]): unknown {
  const [argument] = call.arguments;
  if (argument === undefined) return group.length;
  const values = group.map((row) => evaluate(argument, row)).filter((value) => value !== undefined);
  if (call.name === 'COUNT') return values.length;
  const numbers = values.filter((value) => typeof value === 'number');
  if (numbers.length === 0) return undefined;
  switch (call.name) {
    case 'SUM':
      return numbers.reduce((sum, value) => sum + value, 0);
    case 'AVG':
      return numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
    case 'MIN':
      return numbers.reduce((least, value) => Math.min(least, value));
    default:
      return numbers.reduce((most, value) => Math.max(most, value));
  }
}
