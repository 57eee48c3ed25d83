/**
 * The states of a service, by Azure ML's words. Healthy and Failed are final, as far as anything is; Unschedulable is where there is no
 * room for it, and becomes Healthy by itself when there is.
 */
export const serviceStates = ['Transitioning', 'Healthy', 'Unhealthy', 'Unschedulable', 'Failed'] as const;

/** One of the states of a service. */
export type ServiceState = (typeof serviceStates)[number];

/** The state of a service or of a part of it. */
export interface StateReport {
  readonly state: ServiceState;
  /** Why it is not Healthy, in one sentence without a full stop; for Failed the container's own words where it left any. */
  readonly reason?: string;
}

/** One of the places that a service runs in: a replica, a pod, a container, a device. */
export interface InstanceStatus extends StateReport {
  readonly name: string;
  /** What else the target says of it, for `--json`. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** How a service is. */
export interface ServiceStatus extends StateReport {
  /** `http(s)://host:port` and a path before `/score`, if any; absent where nothing answers requests yet. */
  readonly address?: string;
  readonly instances: readonly InstanceStatus[];
}

/** Writes a state in one line: `Unhealthy (gw-1: the module "digits" is backoff)`. */
export function describeState({ state, reason }: { readonly state: string; readonly reason?: string }): string {
  return reason === undefined ? state : `${state} (${reason})`;
}

/** Gives the part that is worst off, for a service is as its worst part; undefined when all are Healthy. */
export function worstOf<T extends StateReport>(parts: readonly T[]): T | undefined {
  return (['Failed', 'Unhealthy', 'Unschedulable', 'Transitioning'] as const).flatMap(
    (state) => parts.find((part) => part.state === state) ?? [],
  )[0];
}
