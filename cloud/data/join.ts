import type { Designation } from './blob-path.ts';

/** The tables that rows wait in until they are joined. */
export const stageTables = `
  CREATE TABLE pull (identity TEXT NOT NULL) STRICT;
  CREATE TABLE blobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, etag TEXT NOT NULL,
    service TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL, designation TEXT NOT NULL,
    from_ms INTEGER NOT NULL, buffer TEXT NOT NULL, first_seq INTEGER NOT NULL) STRICT;
  CREATE TABLE feature_sets (id INTEGER PRIMARY KEY, features TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE blob_features (blob INTEGER NOT NULL, place INTEGER NOT NULL, features INTEGER NOT NULL,
    types TEXT NOT NULL) STRICT;
  CREATE TABLE rows (id INTEGER PRIMARY KEY, blob INTEGER NOT NULL, correlation TEXT NOT NULL, request TEXT NOT NULL,
    at TEXT NOT NULL, features INTEGER NOT NULL, cells TEXT NOT NULL, aside INTEGER NOT NULL) STRICT;
`;

/**
 * Joins what is staged, without moving the values of rows, which are what is large.
 *
 * Rows belong together when they are of one service, model, version, correlation id and request, the request has equally many of
 * each designation, and they are at the same place in it. Labels come by another request, and of a correlation id the last
 * one's count: they belong to the row at the same place among those of their service, model and correlation id, whatever
 * version, again only where the numbers are equal. What has no counterpart stays alone.
 *
 * The order of rows within a designation is that of their buffer; none of this depends on the order in which blobs were staged.
 */
export const joinStatements = `
  DROP TABLE IF EXISTS numbered;
  DROP TABLE IF EXISTS labelled;
  DROP TABLE IF EXISTS ordered;
  CREATE TABLE numbered AS
    SELECT rows.id, service, model, version, designation, correlation, request, at,
      row_number() OVER request_window AS place,
      count(*) OVER (PARTITION BY service, model, version, designation, correlation, request) AS request_size,
      row_number() OVER correlation_window AS correlation_place,
      count(*) OVER (PARTITION BY service, model, version, designation, correlation) AS correlation_size
    FROM rows JOIN blobs ON blobs.id = rows.blob
    WHERE designation <> 'labels'
    WINDOW
      request_window AS (PARTITION BY service, model, version, designation, correlation, request
        ORDER BY buffer, first_seq, rows.id),
      correlation_window AS (PARTITION BY service, model, version, designation, correlation
        ORDER BY buffer, first_seq, rows.id);
  CREATE TABLE labelled AS
    SELECT *, row_number() OVER (PARTITION BY service, model, correlation ORDER BY place) AS correlation_place,
      count(*) OVER (PARTITION BY service, model, correlation) AS correlation_size
    FROM (
      SELECT rows.id, service, model, version, correlation, request, at, aside,
        row_number() OVER (PARTITION BY service, model, correlation, request, version ORDER BY buffer, first_seq, rows.id) AS place,
        count(*) OVER (PARTITION BY service, model, correlation, request, version) AS request_size,
        dense_rank() OVER (PARTITION BY service, model, correlation ORDER BY at DESC, request DESC, version DESC) AS age
      FROM rows JOIN blobs ON blobs.id = rows.blob WHERE designation = 'labels'
    ) WHERE age = 1;
  CREATE INDEX places ON numbered (service, model, correlation, correlation_place, correlation_size);
  CREATE UNIQUE INDEX label_places ON labelled (service, model, correlation, correlation_place);
  CREATE TABLE ordered AS
    SELECT body.*, label.id AS label
    FROM (
      SELECT id, service, model, version, designation, correlation, request, at, place, request_size,
        correlation_place, correlation_size,
        min(at) OVER (PARTITION BY service, model, version, correlation, request) AS began,
        dense_rank() OVER (ORDER BY service, model, version, correlation, request) AS request_group
      FROM (
        SELECT id, service, model, version, designation, correlation, request, at, place, request_size,
          correlation_place, correlation_size FROM numbered
        UNION ALL
        SELECT id, service, model, version, 'labels', correlation, request, at, place, request_size,
          correlation_place, correlation_size
        FROM labelled WHERE aside = 0 AND NOT EXISTS (
          SELECT 1 FROM numbered WHERE designation IN ('inputs', 'predictions') AND ${samePlace('numbered', 'labelled')})
      )
    ) AS body
    LEFT JOIN labelled AS label ON body.designation IN ('inputs', 'predictions') AND ${samePlace('label', 'body')}
    ORDER BY began, request_group, place, request_size, body.designation;
`;

/** Counts the rows of labels that the last ones have taken the place of. */
export const supersededLabels = `
  SELECT count(*) FROM rows JOIN blobs ON blobs.id = rows.blob
  WHERE designation = 'labels' AND aside = 0 AND rows.id NOT IN (SELECT id FROM labelled)`;

/** Reads the joined rows, those that belong together behind each other. */
export const selectJoined = `
  SELECT designation, service, model, version, ordered.correlation, ordered.request, ordered.at, place, request_size,
    request_group, body.features, body.cells, label.features AS label_features, label.cells AS label_cells
  FROM ordered CROSS JOIN rows AS body ON body.id = ordered.id LEFT JOIN rows AS label ON label.id = ordered.label
  ORDER BY ordered.rowid
`;

/** What {@link selectJoined} gives. */
export interface StagedRow {
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  readonly correlation: string;
  readonly request: string;
  readonly at: string;
  readonly features: number;
  readonly cells: string;
  readonly request_group: number;
  readonly place: number;
  readonly request_size: number;
  readonly label_features: number | null;
  readonly label_cells: string | null;
}

function samePlace(one: string, other: string): string {
  const columns = ['service', 'model', 'correlation', 'correlation_place', 'correlation_size'];
  return columns.map((column) => `${one}.${column} = ${other}.${column}`).join(' AND ');
}
