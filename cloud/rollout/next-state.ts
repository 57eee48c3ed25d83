import { devicesText } from './devices-text.ts';
import { judge, type Observation } from './gate.ts';
import type { RolloutRequest } from './rollout-request.ts';
import { isOver, type RolloutState } from './rollout-state.ts';

/** Devices that a state names at most. */
const failedNamedMax = 10;

/**
 * Decides what becomes of a rollout, without doing anything. The same state means that there is nothing to do but to look again.
 * A breach of the gate halts it in whatever phase it is, paused or not.
 */
export function nextState(
  request: RolloutRequest,
  state: RolloutState,
  observation: Observation,
  nowMs: number,
): RolloutState {
  const stage = request.stages[state.stage];
  if (isOver(state) || stage === undefined) return state;
  const verdict = judge(request.gate, observation);
  const touched = Math.max(state.touched, observation.devices.filter(({ outcome }) => outcome !== 'offline').length);
  const seen = touched === state.touched ? state : { ...state, touched };
  const inPhaseMs = nowMs - state.phaseSinceMs;
  if (verdict.breach !== undefined) return halted(seen, verdict.breach, { devices: verdict.culprits, nowMs });
  if (state.phase === 'rolling') {
    if (verdict.reached) return { ...seen, phase: 'baking', phaseSinceMs: nowMs };
    if (verdict.pending === 0 || inPhaseMs < stage.timeoutMs) return seen;
    const late = observation.devices.filter(({ outcome }) => outcome === 'pending');
    const count = `${verdict.pending} of ${observation.devices.length} devices`;
    const reason = `${count} have not taken it within ${stage.timeoutMs / 1000} s: ${devicesText(late)}`;
    return halted(seen, reason, { devices: late.map(({ deviceId }) => deviceId), nowMs });
  }
  // A device that came back, or a new one, takes it now: the stage is not proven before it has.
  if (!verdict.reached) return { ...seen, phase: 'rolling', phaseSinceMs: nowMs };
  if (state.phase === 'baking') {
    if (inPhaseMs < stage.bakeMs) return seen;
    if (stage.approval === 'manual') return { ...seen, phase: 'waiting', phaseSinceMs: nowMs };
    return state.paused ? seen : advanced(request, seen, nowMs);
  }
  return seen;
}

/** The state after a stage has been passed: the next one, or the end. */
export function advanced({ stages }: RolloutRequest, state: RolloutState, nowMs: number): RolloutState {
  const isLast = state.stage + 1 >= stages.length;
  if (isLast) return { ...state, phase: 'done', phaseSinceMs: nowMs };
  return { ...state, stage: state.stage + 1, phase: 'rolling', phaseSinceMs: nowMs };
}

function halted(
  state: RolloutState,
  reason: string,
  { devices, nowMs }: { readonly devices: readonly string[]; readonly nowMs: number },
): RolloutState {
  return { ...state, phase: 'halted', phaseSinceMs: nowMs, reason, failed: devices.slice(0, failedNamedMax) };
}
