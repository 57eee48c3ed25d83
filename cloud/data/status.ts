import { ledgersProperty, reportedLedgersSchema } from '../../shared/collect/reported-ledger.ts';
import type { DataContainer } from '../azure/data-container.ts';
import type { HubTwin } from '../azure/hub-resources.ts';
import { type DataFilter, designations, isOfStream } from './blob-path.ts';
import { type DataBlob, findBlobs } from './find-blobs.ts';

/** What storage and the device say of one stream; a number is absent where that side says nothing. */
export interface StreamStatus {
  /** Undefined where the rows came from the cloud. */
  readonly device: string | undefined;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: string;
  /** Rows that the device has counted, with what became of them. */
  readonly ledger: StreamLedger | undefined;
  readonly stored: StoredStream;
}

/** What became of the rows of a stream: `collected = uploaded + buffered + quarantined + the sum of dropped`. */
export interface StreamLedger {
  readonly collected: number;
  readonly uploaded: number;
  readonly buffered: number;
  readonly quarantined: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** What storage holds of a stream. */
export interface StoredStream {
  readonly blobs: number;
  readonly rows: number;
  readonly bytes: number;
  /** The last folder that has rows; undefined where there is none. */
  readonly last: string | undefined;
}

/** Which side of storage and devices is asked for what. */
export interface StatusOptions {
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly filter: DataFilter;
  /** The `$edgeAgent` twins of the devices. */
  readonly twins: readonly HubTwin[];
  readonly signal: AbortSignal;
}

/**
 * Puts what devices have reported of their collections beside what storage holds, by device, service, model, version and
 * designation.
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function dataStatus(container: DataContainer, options: StatusOptions): Promise<StreamStatus[]> {
  const { scope, filter, twins, signal } = options;
  const { selected } = await findBlobs(container, { scope, filter, signal });
  const streams = new Map<string, StreamStatus>();
  for (const blob of selected) {
    const key = keyOf(blob);
    const { device, service, model, version, designation } = blob;
    const known = streams.get(key) ?? {
      device,
      service,
      model,
      version,
      designation,
      ledger: undefined,
      stored: nothing,
    };
    streams.set(key, { ...known, stored: withBlob(known.stored, blob) });
  }
  for (const reported of twins.flatMap(ledgersIn)) {
    if (!isMeant(reported, filter)) continue;
    const key = keyOf(reported);
    streams.set(key, { ...reported, stored: streams.get(key)?.stored ?? nothing });
  }
  return [...streams].toSorted(([a], [b]) => Number(a > b) - Number(a < b)).map(([, stream]) => stream);
}

const nothing: StoredStream = { blobs: 0, rows: 0, bytes: 0, last: undefined };

function withBlob(stored: StoredStream, { range, bytes, folder }: DataBlob): StoredStream {
  return {
    blobs: stored.blobs + 1,
    rows: stored.rows + (range?.rows ?? 0),
    bytes: stored.bytes + bytes,
    last: stored.last === undefined || folder > stored.last ? folder : stored.last,
  };
}

/** Reads what a device reports; a part that is not as it should be counts as not reported, for the device wrote it. */
function ledgersIn(twin: HubTwin): Omit<StreamStatus, 'stored'>[] {
  const ledgers = reportedLedgersSchema.safeParse(twin.properties.reported[ledgersProperty]).data ?? {};
  const streams = new Map<string, Omit<StreamStatus, 'stored'>>();
  for (const entry of Object.values(ledgers).flatMap((buffer) => Object.values(buffer.streams))) {
    const { service, model, version, designation, ...ledger } = entry;
    const stream = { device: twin.deviceId, service, model, version, designation, ledger };
    const before = streams.get(keyOf(stream))?.ledger;
    streams.set(keyOf(stream), before === undefined ? stream : { ...stream, ledger: sumOf(before, ledger) });
  }
  return [...streams.values()];
}

/** Two modules of a device may have collected for one service, one after the other. */
function sumOf(one: StreamLedger, other: StreamLedger): StreamLedger {
  const dropped = { ...one.dropped };
  for (const [reason, rows] of Object.entries(other.dropped)) dropped[reason] = (dropped[reason] ?? 0) + rows;
  return {
    collected: one.collected + other.collected,
    uploaded: one.uploaded + other.uploaded,
    buffered: one.buffered + other.buffered,
    quarantined: one.quarantined + other.quarantined,
    dropped,
  };
}

function isMeant(stream: Omit<StreamStatus, 'stored'>, filter: DataFilter): boolean {
  const designation = designations.find((name) => name === stream.designation);
  return designation !== undefined && isOfStream({ ...stream, designation }, filter);
}

function keyOf(stream: Pick<StreamStatus, 'device' | 'service' | 'model' | 'version' | 'designation'>): string {
  const { device = '', service, model, version, designation } = stream;
  return JSON.stringify([service, model, String(version).padStart(15, '0'), designation, device]);
}
