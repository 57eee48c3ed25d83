import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CollectBuffer, type CollectBufferOptions } from '../../../agent/collect/buffer.ts';
import type { Quota } from '../../../agent/collect/room.ts';
import { openBuffer } from '../../../agent/collect/buffer-file.ts';
import { type CommitReceipt, Collector, type CollectorOptions } from '../../../agent/collect/collector.ts';
import { type DrainOptions, type DrainReport, drainBuffer } from '../../../agent/collect/uploader.ts';
import type { Tensor } from '../../../agent/collect/tensor.ts';

/** A blob as storage has it. */
export interface StoredBlob {
  readonly name: string;
  readonly text: string;
  readonly metadata: Record<string, string>;
}

/** A collector over a buffer, both in this thread, and a storage in memory. */
export interface CollectRig extends AsyncDisposable {
  readonly folder: string;
  readonly databasePath: string;
  readonly collector: Collector;
  /** What storage has, by name. */
  readonly blobs: Map<string, StoredBlob>;
  drain(options?: Partial<DrainOptions>): Promise<DrainReport>;
}

const unlimited: Quota = { bytesMax: 1e9, policy: 'reject-new' };

export async function openCollect(
  quota: Quota = unlimited,
  options: Omit<CollectBufferOptions, 'quota'> & Pick<CollectorOptions, 'settings'> = {},
): Promise<CollectRig> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-collect-'));
  const databasePath = join(folder, 'collect.db');
  const database = openBuffer(databasePath);
  const buffer = new CollectBuffer(database, { ...options, quota });
  const listeners: ((receipt: CommitReceipt) => void)[] = [];
  const collector = new Collector({
    channel: {
      post: ({ blocks, drops }) => {
        buffer.append(blocks, drops);
        const receipt = {
          rows: blocks.reduce((sum, { rows }) => sum + rows, 0),
          bytes: blocks.reduce((sum, { packed }) => sum + packed.byteLength, 0),
        };
        queueMicrotask(() => listeners.forEach((listener) => listener(receipt)));
      },
      onReceipt: (listener) => void listeners.push(listener),
    },
    workspace: 'sub/rg/ws',
    service: 'digits',
    ...options,
  });
  const blobs = new Map<string, StoredBlob>();
  return {
    folder,
    databasePath,
    collector,
    blobs,
    drain: (options = {}) =>
      drainBuffer({
        databasePath,
        destination: storeIn(blobs),
        seal: 'all',
        signal: AbortSignal.timeout(20_000),
        ...options,
      }),
    [Symbol.asyncDispose]: async () => {
      await collector.close(1000);
      database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A storage in memory that holds what it has been given, and refuses other bytes under a name that it has. */
export function storeIn(blobs: Map<string, StoredBlob>): DrainOptions['destination'] {
  return {
    upload: ({ name, content, metadata }) => {
      const text = Buffer.from(content).toString();
      const before = blobs.get(name);
      if (before !== undefined && before.text !== text) throw new Error(`"${name}" came twice with different bytes`);
      blobs.set(name, { name, text, metadata });
      return Promise.resolve();
    },
  };
}

/** Scored inputs of so many rows of two columns, all of which hold the given value. */
export function scoredRows(rows: number, value: number): Parameters<Collector['collect']>[0] {
  const tensor: Tensor = { name: 'x', type: 'float32', shape: [rows, 2], data: new Float32Array(rows * 2).fill(value) };
  return {
    model: 'm',
    version: 3,
    designation: 'inputs',
    tensors: [tensor],
    correlationId: `c-${value}`,
    requestId: `r-${value}`,
    scoredAtMs: Date.UTC(2026, 10, 22, 12),
  };
}

/** The first columns of a blob's rows, without the header. */
export function rowsOf(blob: StoredBlob | undefined): string[][] {
  return (blob?.text ?? '')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(','));
}
