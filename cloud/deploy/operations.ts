import { isProcessAlive, processMark } from '../../shared/oci/process-mark.ts';
import { messageOf } from '../../shared/errors.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';

/** What is done to a service. */
export const operationKinds = ['create', 'update', 'scale', 'keys', 'delete'] as const;

export type OperationKind = (typeof operationKinds)[number];

/** Operations of one service that are kept; older ones go. */
const keptMax = 50;
/** Lines of one operation that are kept; what comes after is not written down. */
const linesMax = 10_000;

/** One thing that was done, or is being done, to a service. */
export interface Operation {
  readonly id: number;
  readonly service: string;
  readonly kind: OperationKind;
  /** Interrupted when the program that was at it is gone. */
  readonly state: 'Running' | 'Succeeded' | 'Failed' | 'Interrupted';
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly error: string | null;
}

/** A line of an operation's log. */
export interface OperationLine {
  readonly sequence: number;
  readonly at: string;
  readonly text: string;
}

/**
 * Does something to a service as an operation: that it runs, each line it notes, and how it ends are in the workspace's database at once,
 * where another terminal can follow them.
 */
export async function runOperation<T>(
  database: WorkspaceDatabase,
  {
    service,
    kind,
    note,
  }: { readonly service: string; readonly kind: OperationKind; readonly note: (line: string) => void },
  work: (note: (line: string) => void) => Promise<T>,
): Promise<T> {
  const now = (): string => new Date().toISOString();
  const id = Number(
    database
      .prepare("INSERT INTO operations (service, kind, state, process, started_at) VALUES (?, ?, 'Running', ?, ?)")
      .run(service, kind, processMark(), now()).lastInsertRowid,
  );
  database
    .prepare(
      'DELETE FROM operations WHERE service = ? AND id NOT IN (SELECT id FROM operations WHERE service = ? ORDER BY id DESC LIMIT ?)',
    )
    .run(service, service, keptMax);
  const insertLine = database.prepare(
    'INSERT INTO operation_lines (operation, sequence, at, text) VALUES (?, ?, ?, ?)',
  );
  const end = database.prepare('UPDATE operations SET state = ?, ended_at = ?, error = ? WHERE id = ?');
  let lines = 0;
  try {
    const result = await work((line) => {
      note(line);
      if (lines < linesMax) insertLine.run(id, (lines += 1), now(), line);
    });
    end.run('Succeeded', now(), null, id);
    return result;
  } catch (error) {
    end.run('Failed', now(), messageOf(error), id);
    throw error;
  }
}

/** Gives the operations of a service, the latest first. */
export function listOperations(database: WorkspaceDatabase, service: string): Operation[] {
  return database
    .prepare<[string], OperationRow>('SELECT * FROM operations WHERE service = ? ORDER BY id DESC')
    .all(service)
    .map(({ id, kind, state, process, started_at: startedAt, ended_at: endedAt, error }) => {
      const isGone = state === 'Running' && !isProcessAlive(process);
      return { id, service, kind, state: isGone ? 'Interrupted' : state, startedAt, endedAt, error };
    });
}

/** Gives the lines of an operation after one of them, in their order. */
export function operationLines(database: WorkspaceDatabase, id: number, after = 0): OperationLine[] {
  return database
    .prepare<[number, number], OperationLine>(
      'SELECT sequence, at, text FROM operation_lines WHERE operation = ? AND sequence > ? ORDER BY sequence',
    )
    .all(id, after);
}

interface OperationRow {
  readonly id: number;
  readonly kind: OperationKind;
  readonly state: 'Running' | 'Succeeded' | 'Failed';
  readonly process: string;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly error: string | null;
}
