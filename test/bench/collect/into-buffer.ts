import { join } from 'node:path';
import Database from 'better-sqlite3';
import { CollectBuffer } from '../../../agent/collect/buffer.ts';
import { openBuffer } from '../../../agent/collect/buffer-file.ts';
import { defaultCollectSettings, quotaOf } from '../../../agent/collect/collect-settings.ts';
import { Collector, type CommitReceipt } from '../../../agent/collect/collector.ts';
import { startCommitThread } from '../../../agent/collect/commit-thread.ts';
import { requestsIn } from '../../../agent/collect/row-block.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import type { Measure } from '../measure.ts';
import { rowFloats, scoredRequests } from './rows.ts';

const rows = 40_000;
/** A block of the collector: what it hands over for one transaction when rows come fast. */
const rowsOfTransaction = 256;
const entry = new URL('../../../agent/scoring/main.ts', import.meta.url);

/** How long a request is held up by handing its row to collection, the commit thread working beside. */
export function handOverMeasure(): Measure {
  return {
    figure: 'hand over a row of 64 floats, p50',
    unit: 'us',
    bar: { atMost: 50 },
    sample: async () => {
      await using folder = await temporaryFolder();
      const thread = startCommitThread({
        entry,
        databasePath: join(folder.path, 'collect.db'),
        quota: quotaOf(defaultCollectSettings),
        onFailure: (failure) => process.stderr.write(`${failure}\n`),
      });
      const collector = new Collector({ channel: thread, workspace: 's/r/w', service: 'digits' });
      const times: number[] = [];
      for (const scored of scoredRequests(rows / 2)) {
        const startMs = performance.now();
        collector.collect(scored);
        times.push(performance.now() - startMs);
        // Requests come one after the other, with turns of the event loop between them.
        if (times.length % 16 === 0) await new Promise(setImmediate);
      }
      if (!(await collector.close(30_000))) throw new Error('the rows did not become durable');
      await thread.stop();
      return (times.toSorted((left, right) => left - right)[times.length / 2] ?? Number.NaN) * 1000;
    },
  };
}

/** Rows made durable, from the tensors of a request to the disk, beside bare inserts of the same bytes. */
export function bufferMeasure(): Measure {
  const requests = scoredRequests(rows);
  return {
    figure: `rows of 64 floats into the buffer, ${rowsOfTransaction} a transaction`,
    unit: 'rows/s',
    sample: () => collectInto(requests),
    reference: { name: 'bare better-sqlite3', sample: () => insertBare(requests) },
    bar: { atLeast: 0.5 },
  };
}

async function collectInto(requests: ReturnType<typeof scoredRequests>): Promise<number> {
  await using folder = await temporaryFolder();
  const database = openBuffer(join(folder.path, 'collect.db'));
  const buffer = new CollectBuffer(database, { quota: quotaOf(defaultCollectSettings) });
  let settle: (receipt: CommitReceipt) => void = () => undefined;
  const collector = new Collector({
    channel: {
      post: ({ blocks, drops }) => {
        // A transaction each, as large as those it is compared with.
        for (const block of blocks) buffer.append([block], drops);
        settle({ rows: 0, bytes: blocks.reduce((sum, { packed }) => sum + packed.byteLength, 0) });
      },
      onReceipt: (listener) => (settle = listener),
    },
    workspace: 's/r/w',
    service: 'digits',
  });
  const startMs = performance.now();
  for (const scored of requests) collector.collect(scored);
  collector.flush();
  const rate = (requests.length / (performance.now() - startMs)) * 1000;
  const blocks = database.prepare<[], Buffer>('SELECT bytes FROM packed').pluck().all();
  const features = [{ name: 'x', type: 'float32' as const, width: rowFloats }];
  const kept = blocks.reduce((sum, packed) => sum + [...requestsIn(packed, features)].length, 0);
  if (kept !== requests.length) throw new Error(`${kept} rows are in the buffer, ${requests.length} were wanted`);
  buffer.close();
  return rate;
}

/** The same bytes as rows of a table: each with its floats, its ids and its time. */
async function insertBare(requests: ReturnType<typeof scoredRequests>): Promise<number> {
  await using folder = await temporaryFolder();
  const database = new Database(join(folder.path, 'bare.db'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('CREATE TABLE bare (id INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT');
  const insert = database.prepare('INSERT INTO bare (row) VALUES (?)');
  // Floats, and what is kept beside them of a request: two ids, a time, lengths.
  const bytes = rowFloats * 4 + 2 * 36 + 16;
  const contents = requests.map(() => Buffer.alloc(bytes, 1));
  const startMs = performance.now();
  for (let from = 0; from < contents.length; from += rowsOfTransaction) {
    database.transaction((part: readonly Buffer[]) => {
      for (const row of part) insert.run(row);
    })(contents.slice(from, from + rowsOfTransaction));
  }
  const rate = (contents.length / (performance.now() - startMs)) * 1000;
  database.close();
  return rate;
}
