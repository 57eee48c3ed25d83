import type { ModuleSpec } from './module-spec.ts';

/** First wait before a module is started again, in milliseconds; it doubles each time (IoT Edge, RestartPolicyManager). */
const restartBaseMs = 10_000;
/** Longest wait before a module is started again, in milliseconds (IoT Edge, RestartPolicyManager). */
const restartMaxMs = 300_000;

/** How long a module has to run before its restarts are forgotten, in milliseconds (IoT Edge, IntensiveCareTimeInMinutes). */
export const intensiveCareMs = 10 * 60_000;

/** After how many restarts a module is reported as failed (IoT Edge, MaxRestartCount). IoT Edge then gives it up; here it goes on being tried. */
export const restartCountMax = 20;

/** What the policy looks at. */
interface EndedModule {
  readonly status: 'created' | 'running' | 'exited' | 'dead';
  readonly exitCode: number;
  readonly downForMs?: number;
  readonly restartCount: number;
}

/**
 * Says whether a module that does not run but should is to be started now. One that was not seen to end by itself (never
 * started, stopped on purpose, or down since before a power cut) is started at once, whatever its policy.
 */
export function restartDue(policy: ModuleSpec['restartPolicy'], module: EndedModule): boolean {
  if (module.status === 'created' || module.downForMs === undefined) return true;
  return restarts(policy, module.exitCode) && module.downForMs >= backoffMs(module.restartCount);
}

/** Says whether the policy starts a module again that ended with that code. */
export function restarts(policy: ModuleSpec['restartPolicy'], exitCode: number): boolean {
  if (policy === 'always') return true;
  if (policy === 'never') return false;
  return exitCode !== 0;
}

/** Gives how long to wait before something that failed that many times is tried again, in milliseconds. */
export function backoffMs(failures: number): number {
  return Math.min(restartBaseMs * 2 ** failures, restartMaxMs);
}
