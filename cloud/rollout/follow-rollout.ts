import type { Clock } from '../../shared/clock.ts';
import { isFerryError } from '../../shared/errors.ts';
import type { HubClient } from '../azure/hub-client.ts';
import { passesByItself } from '../azure/hub-failure.ts';
import { judge, type Observation } from './gate.ts';
import { nextState } from './next-state.ts';
import { RolloutWatch } from './observe-rollout.ts';
import { changeRollout, readRollout, type Rollout } from './rollout.ts';
import { stageName } from './rollout-request.ts';
import { isOver } from './rollout-state.ts';
import { takeBack } from './take-back.ts';

/** Pauses between two looks, in milliseconds; the longest keeps within what a hub of the smallest size allows in a minute. */
const pauseMsMin = 500;
const pauseMsMax = 10_000;
const pauseGrowth = 1.3;
/** Failures of the hub in a row before following ends; with the pauses between them that is about ten minutes. */
const failuresMax = 60;

/** The settings of {@link followRollout}. */
export interface FollowOptions {
  readonly hub: HubClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told what changes, in one line. */
  readonly note: (line: string) => void;
}

/**
 * Goes on with a rollout until it is over, or waits for a person. All that it knows is in the hub, so it may be killed at any
 * moment and called again, here or elsewhere, or twice at the same time: one of two writers finds out that it was late, and looks again.
 * @returns the rollout as it is at the end
 * @throws {FerryError} HUB_UNREACHABLE or OVERLOADED when the hub is away for long; nothing is lost by that
 */
export async function followRollout(id: string, options: FollowOptions): Promise<Rollout> {
  const { hub, clock, signal, note } = options;
  const watch = new RolloutWatch(hub);
  let pauseMs = pauseMsMin;
  let failures = 0;
  let said = '';
  for (;;) {
    signal.throwIfAborted();
    try {
      const { rollout, line } = await oneLook(id, watch, options);
      failures = 0;
      if (line !== said) {
        note((said = line));
        pauseMs = pauseMsMin;
      }
      if (isOver(rollout.state) || rollout.state.phase === 'waiting') {
        if (rollout.state.phase !== 'waiting') await takeBack(hub, rollout);
        return rollout;
      }
    } catch (error) {
      if (!passesByItself(error) || ++failures >= failuresMax) throw error;
      if (failures === 1) note(`${error.message}; trying again`);
    }
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(pauseMs * pauseGrowth, pauseMsMax);
  }
}

async function oneLook(
  id: string,
  watch: RolloutWatch,
  { hub, clock }: FollowOptions,
): Promise<{ readonly rollout: Rollout; readonly line: string }> {
  const rollout = await readRollout(hub, id);
  if (isOver(rollout.state)) return { rollout, line: describeProgress(rollout) };
  const observation = await watch.look(id, rollout.request, clock.nowMs());
  const state = nextState(rollout.request, rollout.state, observation, clock.nowMs());
  const isSame = JSON.stringify(state) === JSON.stringify(rollout.state);
  const changed = isSame ? rollout : await changeUnlessLate(hub, rollout, state);
  return { rollout: changed, line: describeProgress(changed, observation) };
}

/** Writes the state; where somebody else was first, gives what they have written. */
async function changeUnlessLate(hub: HubClient, rollout: Rollout, state: Rollout['state']): Promise<Rollout> {
  try {
    return await changeRollout(hub, rollout, state);
  } catch (error) {
    if (!isFerryError(error, 'DEPLOYMENT_CHANGED')) throw error;
    return readRollout(hub, rollout.id);
  }
}

/** Says where a rollout is in one line: `stage 2 of 4 "10%": rolling, 12 of 20 succeeded, 1 offline`. */
export function describeProgress({ request, state }: Rollout, observation?: Observation): string {
  const stage = request.stages[state.stage];
  const where = `stage ${state.stage + 1} of ${request.stages.length} "${stage === undefined ? '' : stageName(stage)}"`;
  const why = state.reason === undefined ? '' : `: ${state.reason}`;
  const phase = `${state.phase}${state.paused ? ', paused' : ''}${why}`;
  if (observation === undefined || isOver(state)) return `${where}: ${phase}`;
  const { succeeded, offline, failed } = judge(request.gate, observation);
  const counts = [
    `${succeeded} of ${observation.devices.length} succeeded`,
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
    ...(offline > 0 ? [`${offline} offline`] : []),
  ];
  return `${where}: ${phase}, ${counts.join(', ')}`;
}
