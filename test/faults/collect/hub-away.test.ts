import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { HubFileUpload } from '../../../agent/hub/file-upload.ts';
import { uploadEvery } from '../../../agent/upload-timer.ts';
import { parseDeviceConnectionString } from '../../../shared/edge/connection-string.ts';
import { createLogger } from '../../../shared/log.ts';
import { openCollect, type StoredBlob } from '../../agent/collect/collect-rig.ts';
import { Rig } from '../../agent/rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { expectBalanced, expectNothingLost, numberedRow } from './expect-nothing-lost.ts';
import { type FaultyStorage, openFaultyStorage, storedBlobs } from './faulty-storage.ts';

const minuteMs = 60_000;
const outageMinutes = 60;
const rowsOfMinute = 20;
/** Rows of half an hour at most, so that an hour fills it. */
const bytesMax = 20_000;

/** Ways of the hub, or the storage behind it, to be away. */
const outages = {
  'the hub says that it is not available': ({ hub }) => hub.hub.faults.change({ outageMs: 3_600_000 }),
  'the hub fails': ({ hub }) => hub.hub.faults.change({ failRequests: 1_000_000 }),
  'the hub throttles': ({ hub }) => hub.hub.faults.change({ throttleRequests: 1_000_000 }),
  'the hub cuts every connection': ({ hub }) => hub.hub.faults.change({ refuseConnections: true }),
  'the storage cuts every connection': ({ storage }) => void (storage.fault = () => 'cut-before'),
} satisfies Record<string, (of: { readonly hub: Rig; readonly storage: FaultyStorage }) => void>;

test.each(Object.keys(outages) as (keyof typeof outages)[])(
  'an hour in which %s fills the buffer, and what is left of it gets to storage once when that is over',
  { timeout: 60_000 },
  async (outage) => {
    await using storage = await openFaultyStorage();
    await using hub = await Rig.open({ storage: storage.account });
    await using modules = await temporaryFolder();
    await mkdir(join(modules.path, 'scorer'));
    let nowMs = Date.UTC(2026, 10, 22, 12);
    let minute = 0;
    let number = 0;
    const ending = new AbortController();
    await using rig = await openCollect({ bytesMax, policy: 'drop-oldest' }, { nowMs: () => nowMs });
    const clock = {
      nowMs: () => nowMs,
      monotonicMs: () => nowMs,
      /** A minute goes by: rows come, and the outage begins or ends. */
      sleep: (ms: number) => {
        nowMs += ms;
        minute += 1;
        if (minute === 2) outages[outage]({ hub, storage });
        if (minute === 2 + outageMinutes) {
          hub.hub.faults.clear();
          storage.fault = () => undefined;
        }
        for (let row = 0; row < rowsOfMinute; row += 1) {
          number += 1;
          for (const designation of ['inputs', 'predictions'] as const)
            rig.collector.collect(numberedRow(number, designation, nowMs));
        }
        rig.collector.flush();
        return Promise.resolve();
      },
    };
    const tries: number[] = [];
    const errors = new Set<string>();
    await uploadEvery({
      modulesFolder: modules.path,
      everyMs: minuteMs,
      clock,
      destination: new HubFileUpload(parseDeviceConnectionString(hub.connectionString)),
      drain: async (_path, destination, signal) => {
        const drainClock = { ...clock, sleep: () => Promise.resolve() };
        const { databasePath } = rig;
        return (await drainBuffer({ databasePath, destination, signal, seal: 'due', clock: drainClock })).rows;
      },
      onUpload: ({ rows, error }) => {
        tries.push(rows);
        if (error !== undefined) errors.add(error);
      },
      onDrained: () => {
        const ledger = readLedger(rig.databasePath);
        expectBalanced(ledger);
        expect(ledger.bufferedBytes).toBeLessThanOrEqual(bytesMax);
        if (minute === outageMinutes + 4) ending.abort();
        return Promise.resolve();
      },
      log: createLogger('test', { level: 'silent' }),
      signal: ending.signal,
    });
    // Nothing got through while it lasted, and each minute said why.
    expect(tries.filter((rows) => rows === 0).length).toBeGreaterThanOrEqual(outageMinutes);
    expect([...errors].join('\n')).toMatch(/Cannot/);
    const counted = readLedger(rig.databasePath).streams;
    expect(counted).toMatchObject([
      { collected: number, dropped: { evicted: expect.any(Number) } },
      { collected: number, dropped: { evicted: expect.any(Number) } },
    ]);
    const stored = new Map<string, StoredBlob>((await storedBlobs(storage)).map((blob) => [blob.name, blob]));
    expect(stored.size).toBeGreaterThan(2);
    await expectNothingLost(rig.folder, { counted: number, stored });
  },
);
