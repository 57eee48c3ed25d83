import type { ContainerEngine, ContainerState } from '../../../shared/containers/engine.ts';
import type { ClusterState } from '../cluster-state.ts';
import type { Images } from './images.ts';

/** How long things take on a node; tests have them shorter. */
export interface NodeTimes {
  /** Before a container that has failed is started again, doubled each time, in milliseconds. @default 10000 */
  readonly backoffMs: number;
  /** The longest of these. @default 300000 */
  readonly backoffMsMax: number;
}

export const nodeTimes: NodeTimes = { backoffMs: 10_000, backoffMsMax: 300_000 };

/** What the pods of a node are run with. */
export interface NodeServices {
  readonly state: ClusterState;
  readonly engine: ContainerEngine;
  readonly images: Images;
  /** Where pods have their volumes. */
  readonly folder: string;
  readonly times: NodeTimes;
  /** Comes when a container of the engine no longer runs. */
  ended(name: string, signal: AbortSignal): Promise<ContainerState>;
}

/** Waits, unless what it is for is over first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = (): void => resolve();
  signal.addEventListener('abort', stop, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', stop);
}

/** How long to wait before the next attempt. @param failures how many there were, 1 or more */
export function backoffOf({ backoffMs, backoffMsMax }: NodeTimes, failures: number): number {
  return Math.min(backoffMsMax, backoffMs * 2 ** Math.min(30, failures - 1));
}
