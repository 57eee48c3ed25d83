import type { ScoringFigures } from '../../shared/edge/reported-scoring.ts';
import { devicesText } from './devices-text.ts';
import type { Gate } from './rollout-request.ts';

/** How one device has taken the new version. */
export interface DeviceOutcome {
  readonly deviceId: string;
  /** `offline`: it is not connected and has not tried yet. */
  readonly outcome: 'succeeded' | 'failed' | 'pending' | 'offline';
  /** Why it is not `succeeded`, in one sentence without a full stop. */
  readonly reason?: string;
  /** How often its module was started again. */
  readonly restarts: number;
  readonly scoring?: ScoringFigures;
}

/** What is seen of a rollout at one moment. */
export interface Observation {
  /** Devices that the rollout means so far. */
  readonly devices: readonly DeviceOutcome[];
  /** Rows that each custom metric's query gave. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** How much of a stage is there, and what breaks the gate. */
export interface Verdict {
  readonly succeeded: number;
  readonly pending: number;
  readonly offline: number;
  readonly failed: readonly string[];
  /** Whether enough of the devices that can be reached have succeeded. */
  readonly reached: boolean;
  /** What is wrong, in one sentence without a full stop; undefined while the gate holds. */
  readonly breach: string | undefined;
  /** Devices that the breach is about. */
  readonly culprits: readonly string[];
}

/** Holds what is seen against a gate. Devices that cannot be reached count neither way: they get what is right when they are back. */
export function judge(gate: Gate, { devices, metrics }: Observation): Verdict {
  const of = (outcome: DeviceOutcome['outcome']) => devices.filter((device) => device.outcome === outcome);
  const [succeeded, failed, pending, offline] = [of('succeeded'), of('failed'), of('pending'), of('offline')];
  const reachable = devices.length - offline.length;
  const breach = [
    failures(gate, failed),
    restarts(gate, devices),
    errorRate(gate, devices),
    latency(gate, devices),
    ...Object.entries(gate.metrics).map(([name, { max }]) => metric(name, max, metrics[name] ?? 0)),
  ].find((found) => found !== undefined);
  return {
    succeeded: succeeded.length,
    pending: pending.length,
    offline: offline.length,
    failed: failed.map(({ deviceId }) => deviceId),
    reached: reachable > 0 && succeeded.length / reachable >= gate.successShareMin,
    breach: breach?.text,
    culprits: breach?.devices.map(({ deviceId }) => deviceId) ?? [],
  };
}

interface Breach {
  readonly text: string;
  readonly devices: readonly DeviceOutcome[];
}

function failures({ failuresMax }: Gate, failed: readonly DeviceOutcome[]): Breach | undefined {
  if (failed.length <= failuresMax) return undefined;
  return { text: `${failed.length} failed, ${failuresMax} may: ${devicesText(failed)}`, devices: failed };
}

function restarts({ restartsMax }: Gate, devices: readonly DeviceOutcome[]): Breach | undefined {
  const over = devices.filter(({ restarts }) => restarts > restartsMax);
  const [worst] = over.toSorted((a, b) => b.restarts - a.restarts);
  if (worst === undefined) return undefined;
  return {
    text: `the module of ${worst.deviceId} was started again ${worst.restarts} times, ${restartsMax} at most was wanted`,
    devices: over,
  };
}

function errorRate({ errorRateMax }: Gate, devices: readonly DeviceOutcome[]): Breach | undefined {
  if (errorRateMax === undefined) return undefined;
  const requests = sum(devices, ({ scoring }) => scoring?.requests ?? 0);
  const errors = sum(devices, ({ scoring }) => scoring?.errors ?? 0);
  if (requests === 0 || errors / requests <= errorRateMax) return undefined;
  return {
    text: `${errors} of ${requests} requests failed, a share of ${errorRateMax} at most was wanted`,
    devices: devices.filter(({ scoring }) => (scoring?.errors ?? 0) > 0),
  };
}

function latency({ latencyMsMax }: Gate, devices: readonly DeviceOutcome[]): Breach | undefined {
  if (latencyMsMax === undefined) return undefined;
  const slow = devices.filter(({ scoring }) => (scoring?.p95Ms ?? 0) > latencyMsMax);
  const [worst] = slow.toSorted((a, b) => (b.scoring?.p95Ms ?? 0) - (a.scoring?.p95Ms ?? 0));
  if (worst === undefined) return undefined;
  return {
    text: `${worst.deviceId} answers 95 of 100 requests within ${worst.scoring?.p95Ms} ms, ${latencyMsMax} ms was wanted`,
    devices: slow,
  };
}

function metric(name: string, max: number, rows: number): Breach | undefined {
  if (rows <= max) return undefined;
  return { text: `the metric "${name}" gives ${rows}, ${max} at most was wanted`, devices: [] };
}

function sum(devices: readonly DeviceOutcome[], of: (device: DeviceOutcome) => number): number {
  return devices.reduce((total, device) => total + of(device), 0);
}
