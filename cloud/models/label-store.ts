import type { Clock } from '../../shared/clock.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { databaseFailure } from '../workspace/new-version.ts';
import { changeLabels, type LabelChange, type Labels } from './labels.ts';

/** The table that holds models or images. */
export type LabelledTable = 'models' | 'images';

/** A version of a model or image with its labels. */
export interface Labelled extends Labels {
  readonly name: string;
  readonly version: number;
}

/** The settings of {@link updateLabels}. */
export interface LabelUpdate<T extends Labelled> {
  readonly table: LabelledTable;
  /** Finds what is to be changed, or fails when it is not there; called inside of the transaction, before and after. */
  readonly find: () => T;
  readonly change: LabelChange;
  readonly clock: Clock;
}

/**
 * Changes the labels of a model or image, in one transaction that reads and writes them: of changes made at once by
 * several processes none is lost.
 * @throws {FerryError} TAG_INVALID naming everything that the change does not respect; nothing is changed then
 */
export function updateLabels<T extends Labelled>(database: WorkspaceDatabase, update: LabelUpdate<T>): T {
  const { table, find, change, clock } = update;
  const run = database.transaction((): T => {
    const before = find();
    const { tags, properties, description } = changeLabels(before, change);
    database
      .prepare(
        `UPDATE ${table} SET tags = ?, properties = ?, description = ?, modified_at = ? WHERE name = ? AND version = ?`,
      )
      .run(
        JSON.stringify(tags),
        JSON.stringify(properties),
        description,
        new Date(clock.nowMs()).toISOString(),
        before.name,
        before.version,
      );
    return find();
  });
  try {
    return run.immediate();
  } catch (error) {
    throw databaseFailure(error, 'change tags and properties');
  }
}

/** A tag or property that is looked for: with any value, or with this one. */
export interface LabelFilter {
  readonly key: string;
  readonly value?: string;
}

/** What is looked for among models or images; all of it must hold. */
export interface ListFilter {
  readonly name?: string;
  readonly tags?: readonly LabelFilter[];
  readonly properties?: readonly LabelFilter[];
  /** Only the latest version of each name. @default false */
  readonly latest?: boolean;
}

/** A condition of an SQL query, with the values of its parameters. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

/** Writes what is looked for as conditions of a query. */
export function listConditions(table: LabelledTable, filter: ListFilter): readonly Condition[] {
  const { name, latest = false } = filter;
  return [
    ...(name === undefined ? [] : [{ sql: `${table}.name = ?`, values: [name] }]),
    ...labelConditions(table, filter),
    ...(latest
      ? [
          {
            sql: `${table}.version = (SELECT max(version) FROM ${table} AS other WHERE other.name = ${table}.name)`,
            values: [],
          },
        ]
      : []),
  ];
}

/** Writes what is looked for among tags and properties as conditions of a query. */
export function labelConditions(
  table: LabelledTable | 'services',
  { tags = [], properties = [] }: Pick<ListFilter, 'tags' | 'properties'>,
): readonly Condition[] {
  return [
    ...tags.map((tag) => labelCondition(`${table}.tags`, tag)),
    ...properties.map((property) => labelCondition(`${table}.properties`, property)),
  ];
}

/** Joins conditions to what follows `SELECT … FROM …`; nothing where there are none. */
export function whereClause(conditions: readonly Condition[]): Condition {
  const sql = conditions.map((condition) => condition.sql).join(' AND ');
  return { sql: sql === '' ? '' : `WHERE ${sql}`, values: conditions.flatMap(({ values }) => values) };
}

function labelCondition(column: string, { key, value }: LabelFilter): Condition {
  // Keys of json_each are whole keys, whatever signs they hold.
  const sql = `EXISTS (SELECT 1 FROM json_each(${column}) AS label WHERE label.key = ?${value === undefined ? '' : ' AND label.value = ?'})`;
  return { sql, values: value === undefined ? [key] : [key, value] };
}
