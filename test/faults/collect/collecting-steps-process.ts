import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { CollectBuffer } from '../../../agent/collect/buffer.ts';
import { bufferFileName, openBuffer } from '../../../agent/collect/buffer-file.ts';
import { Collector, type CommitReceipt } from '../../../agent/collect/collector.ts';
import type { Quota } from '../../../agent/collect/room.ts';
import type { UploadDestination } from '../../../agent/collect/upload-destination.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { FerryError } from '../../../shared/errors.ts';
import { Random } from '../../random.ts';
import { numberedRow, type Said } from './expect-nothing-lost.ts';

// Collects numbered rows and drains them, one step after the other as the seed has it, and says when rows count as collected and when
// storage has a blob. It does in one thread what the scoring server and the agent do in several, so that the same seed is the same run.
const [folder = '', seed = '0', steps = '0'] = process.argv.slice(2);

const databasePath = join(folder, bufferFileName);
const random = new Random(Number(seed));
const quota = random.pick<Quota>([
  { bytesMax: 1e9, policy: 'reject-new' },
  { bytesMax: 4000, policy: 'drop-oldest', designations: { predictions: { priority: 1 } } },
  { bytesMax: 4000, policy: 'thin', keepOneIn: 2 },
]);
let nowMs = Date.UTC(2026, 10, 22);
const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: () => Promise.resolve() };
const signal = new AbortController().signal;
let number = 0;
let { collector, close } = open();

for (let step = 0; step < Number(steps); step += 1) {
  const kind = random.below(10);
  if (kind < 6) collect(1 + random.below(20));
  else if (kind < 9) await drain();
  else {
    close();
    ({ collector, close } = open());
  }
}
close();

function open(): { readonly collector: Collector; readonly close: () => void } {
  const database = openBuffer(databasePath);
  const buffer = new CollectBuffer(database, { quota, nowMs: clock.nowMs });
  let settle: (receipt: CommitReceipt) => void = () => undefined;
  const opened = new Collector({
    channel: {
      post: ({ blocks, drops }) => {
        buffer.append(blocks, drops);
        settle({ rows: 0, bytes: blocks.reduce((sum, { packed }) => sum + packed.byteLength, 0) });
      },
      onReceipt: (listener) => (settle = listener),
    },
    workspace: 'sub/rg/ws',
    service: 'digits',
  });
  return { collector: opened, close: () => buffer.close() };
}

function collect(rows: number): void {
  for (let row = 0; row < rows; row += 1) {
    number += 1;
    nowMs += random.below(60_000);
    for (const designation of ['inputs', 'predictions'] as const) {
      collector.collect(numberedRow(number, designation, nowMs));
    }
  }
  collector.flush();
  say({ counted: number });
}

async function drain(): Promise<void> {
  const order = random.pick(['oldest-first', 'newest-first']);
  const database = openBuffer(databasePath);
  database.prepare('UPDATE buffer SET drain = ?').run(JSON.stringify({ order }));
  database.close();
  try {
    await drainBuffer({ databasePath, destination: storage(), seal: random.pick(['all', 'due']), signal, clock });
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
  }
}

/** Loses requests, loses acknowledgements, and refuses now and then. */
function storage(): UploadDestination {
  return {
    upload: ({ name, content, metadata }) => {
      const fate = random.below(12);
      if (fate === 0) throw new FerryError('STORAGE_REFUSED', 'Cannot store: refused');
      if (fate === 1) throw new FerryError('STORAGE_UNREACHABLE', 'Cannot store: cut before');
      say({ stored: { name, metadata, text: Buffer.from(content).toString() } });
      if (fate === 2) throw new FerryError('STORAGE_UNREACHABLE', 'Cannot store: cut behind');
      return Promise.resolve();
    },
  };
}

function say(what: Said): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}
