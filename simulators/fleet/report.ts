import type { DeviceSummary } from './light-process.ts';
import type { Observer } from './observer.ts';
import type { FleetOptions } from './options.ts';
import type { DeviceLedger } from './real-ledgers.ts';

/** Rows of each device that storage holds, each counted once, and whether any sequence number is missing or twice. */
export type StoredRows = ReadonlyMap<string, { readonly rows: number; readonly gaps: number }>;

/** Devices that are named at most where there may be many. */
const namedMax = 10;

/** Puts together what a run came to. */
export function fleetReport(of: {
  readonly options: FleetOptions;
  readonly observer: Observer;
  /** Devices that are not as the last deployment says. */
  readonly unconverged: readonly string[];
  readonly summaries: readonly DeviceSummary[];
  readonly stored: StoredRows;
  readonly throttled: ReadonlyMap<string, number>;
  /** What real agents say of their rows, where there are any, and how many rows they have answered. */
  readonly real?: readonly RealLedger[] | undefined;
  /** How long it took by the clock of the fleet, in milliseconds. */
  readonly tookMs: number;
}) {
  const { options, observer, unconverged: wrong, summaries, stored, throttled, tookMs, real = [] } = of;
  const { seed } = options;
  const devices = options.devices + real.length;
  const ledgers: readonly DeviceLedger[] = [...summaries, ...real];
  const sumRows = (name: keyof DeviceLedger['rows']): number => ledgers.reduce((all, { rows }) => all + rows[name], 0);
  const sum = (pick: (summary: DeviceSummary) => number): number => summaries.reduce((all, one) => all + pick(one), 0);
  const rows = {
    collected: sumRows('collected'),
    uploaded: sumRows('uploaded'),
    buffered: sumRows('buffered'),
    dropped: sumRows('dropped'),
    stored: [...stored.values()].reduce((all, { rows }) => all + rows, 0),
  };
  const unequal = ledgers.filter((ledger) => !isEqual(ledger, stored)).map(({ deviceId }) => deviceId);
  return {
    mode: options.virtual ? 'virtual' : 'real',
    devices,
    seed,
    seconds: Math.round(tookMs / 1000),
    deployments: observer.progress.map(({ deployment, beganMs, convergedMs }) => ({
      id: deployment.id,
      atSeconds: Math.round(beganMs / 1000),
      converged: convergedMs.size,
      seconds: percentiles([...convergedMs.values()].map((ms) => (ms - beganMs) / 1000)),
    })),
    ...(real.length === 0 ? {} : { realAgents: ofReal(real, observer, wrong) }),
    deployedAgain: observer.deployedAgain,
    onRightVersion: devices - wrong.length,
    wrongVersion: wrong.slice(0, namedMax),
    troubles: {
      crashes: sum(({ troubles }) => troubles.crashes),
      powerCuts: sum(({ troubles }) => troubles.powerCuts),
    },
    retries: {
      connections: sum(({ retries }) => retries.connections),
      pulls: sum(({ retries }) => retries.pulls),
      uploads: sum(({ retries }) => retries.uploads),
      messages: sum(({ retries }) => retries.resent),
      throttled: sum(({ retries }) => retries.throttled),
    },
    bytes: {
      sent: sum(({ bytes }) => bytes.sent),
      received: sum(({ bytes }) => bytes.received),
      pulled: sum(({ bytes }) => bytes.pulled),
      uploaded: sum(({ bytes }) => bytes.uploaded),
    },
    rows: {
      ...rows,
      lost:
        rows.collected -
        rows.uploaded -
        rows.buffered -
        rows.dropped +
        missing(ledgers, stored) +
        real.reduce((all, { answered, rows: { collected } }) => all + Math.max(0, answered - collected), 0),
    },
    ledgers: { equal: ledgers.length - unequal.length, unequal: unequal.slice(0, namedMax) },
    hub: {
      connections: observer.connections.count,
      connectionsPerSecondMax: observer.connections.mostPerSecond,
      patches: observer.patches.count,
      patchesPerSecondMax: observer.patches.mostPerSecond,
      throttled: Object.fromEntries([...throttled].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

/** What a real agent says of its rows, and how many rows its modules have answered. */
type RealLedger = DeviceLedger & { readonly answered: number };

/** Says how real agents did with the last deployment, and with what their modules were asked. */
function ofReal(real: readonly RealLedger[], { progress }: Observer, wrong: readonly string[]) {
  const { beganMs = 0, convergedMs } = progress.at(-1) ?? {};
  const seconds = real.flatMap(({ deviceId }) => {
    const atMs = convergedMs?.get(deviceId);
    return atMs === undefined ? [] : [(atMs - beganMs) / 1000];
  });
  const onRightVersion = real.filter(({ deviceId }) => !wrong.includes(deviceId)).length;
  return {
    devices: real.length,
    onRightVersion,
    seconds: percentiles(seconds),
    answered: real.reduce((all, { answered }) => all + answered, 0),
    collected: real.reduce((all, { rows }) => all + rows.collected, 0),
  };
}

/** What a run came to. */
export type FleetReport = ReturnType<typeof fleetReport>;

/**
 * Says whether all rows of a device are accounted for: collected = uploaded + buffered + dropped, and storage holds what was uploaded, without a
 * gap. It may hold one blob more, whose receipt a device has not seen.
 */
function isEqual({ deviceId, rows }: DeviceLedger, stored: StoredRows): boolean {
  const held = stored.get(deviceId) ?? { rows: 0, gaps: 0 };
  const isBalanced = rows.collected === rows.uploaded + rows.buffered + rows.dropped;
  return isBalanced && held.gaps === 0 && held.rows >= rows.uploaded && held.rows <= rows.uploaded + rows.buffered;
}

/** Rows that devices take for uploaded and storage does not hold. */
function missing(ledgers: readonly DeviceLedger[], stored: StoredRows): number {
  return ledgers.reduce(
    (all, { deviceId, rows }) => all + Math.max(0, rows.uploaded - (stored.get(deviceId)?.rows ?? 0)),
    0,
  );
}

/** Counts the rows of blobs, given as their first and last sequence numbers, each once, and the sequence numbers that none of them has. */
export function countRows(ranges: readonly (readonly [number, number])[]): {
  readonly rows: number;
  readonly gaps: number;
} {
  let [rows, gaps, last] = [0, 0, 0];
  for (const [from, to] of ranges.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (to <= last) continue;
    gaps += Math.max(0, from - last - 1);
    rows += to - Math.max(from - 1, last);
    last = to;
  }
  return { rows, gaps };
}

/** Gives percentiles by the nearest rank; nothing of nothing. */
export function percentiles(
  values: readonly number[],
): Readonly<Record<'p50' | 'p90' | 'p99' | 'max', number>> | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
    return Math.round(value * 1000) / 1000;
  };
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}
