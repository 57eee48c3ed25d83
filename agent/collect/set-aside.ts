import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import Database from 'better-sqlite3';
import { openBuffer } from './buffer-file.ts';
import { type DropReason, Losses } from './losses.ts';

/**
 * Moves a damaged buffer away, so that collecting goes on with a new one. The new one goes on with the totals as far as they can
 * still be read: what the damaged one held is counted as dropped, `damaged`.
 * @returns the name that the damaged one has now
 */
export function setAside(path: string, nowMs: number): string {
  const aside = `${path}.damaged-${nowMs}`;
  for (const suffix of ['-wal', '-shm', '']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  const totals = totalsIn(aside);
  const database = openBuffer(path);
  try {
    database.transaction(goOnWith).immediate(database, totals);
  } finally {
    database.close();
  }
  return aside;
}

/** Names the buffers that were set aside beside this one. */
export function damagedBuffers(path: string): string[] {
  const prefix = `${basename(path)}.damaged-`;
  if (!existsSync(dirname(path))) return [];
  return readdirSync(dirname(path)).filter((name) => name.startsWith(prefix) && /-\d+$/.test(name));
}

interface StreamTotals {
  readonly id: number;
  readonly collected: number;
  readonly uploaded: number;
}

interface DropTotal {
  readonly stream: number;
  readonly reason: DropReason;
  readonly rows: number;
}

interface Totals {
  readonly streams: readonly StreamTotals[];
  readonly drops: readonly DropTotal[];
}

/** Reads the totals of a damaged buffer; none where the damage is there. */
function totalsIn(path: string): Totals {
  let database: Database.Database | undefined;
  try {
    database = new Database(path);
    const streams = database.prepare<[], StreamTotals>('SELECT * FROM streams').all();
    const drops = database.prepare<[], DropTotal>('SELECT stream, reason, rows FROM drops').all();
    return { streams, drops };
  } catch {
    return { streams: [], drops: [] };
  } finally {
    database?.close();
  }
}

function goOnWith(database: Database.Database, { streams, drops }: Totals): void {
  const losses = new Losses(database);
  const insert = database.prepare(
    `INSERT OR IGNORE INTO streams
       (id, workspace, service, model, version, designation, format, folder, next_seq, collected, uploaded)
     VALUES (@id, @workspace, @service, @model, @version, @designation, @format, @folder, @held + 1, @collected, @uploaded)`,
  );
  for (const stream of streams) {
    const own = drops.filter((drop) => drop.stream === stream.id);
    const held = own.reduce((rest, { rows }) => rest - rows, stream.collected - stream.uploaded);
    // Another process may have been first, and begun to collect.
    if (insert.run({ ...stream, held }).changes === 0) continue;
    for (const { reason, rows } of own) losses.count(stream.id, { reason, rows });
    losses.count(stream.id, { reason: 'damaged', rows: held });
    losses.keep({ stream: stream.id, firstSeq: 1, lastSeq: held, reason: 'damaged' });
  }
}
