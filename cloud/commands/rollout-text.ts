import { fields, table } from '../../shared/text-layout.ts';
import type { CommandResult } from '../cli/result.ts';
import { describeProgress } from '../rollout/follow-rollout.ts';
import type { Rollout } from '../rollout/rollout.ts';
import type { PlannedDevice } from '../rollout/rollout-plan.ts';
import { type RolloutRequest, stageName } from '../rollout/rollout-request.ts';
import { isOver } from '../rollout/rollout-state.ts';

/** Says which device gets what in which stage. */
export function describePlan(request: RolloutRequest, plan: readonly PlannedDevice[]): CommandResult {
  const devices = plan.map((device) => plannedDocument(request, device));
  const rows = devices.map(({ deviceId, stage, connected, has, gets }) => [
    stage,
    deviceId,
    connected ? 'yes' : 'no',
    has,
    gets,
  ]);
  return {
    json: { service: request.service, image: request.image, scope: request.scope, devices },
    text: table(['stage', 'device', 'connected', 'has', 'gets'], rows),
  };
}

/** Shows a rollout; with a plan also which device has what. */
export function describeRollout(rollout: Rollout, plan?: readonly PlannedDevice[]): CommandResult {
  const { id, priority, request, state } = rollout;
  const devices = plan?.map((device) => plannedDocument(request, device));
  const lines = fields({
    rollout: request.service,
    image: request.image,
    deployment: `${id}, priority ${priority}`,
    scope: request.scope,
    state: describeProgress(rollout),
    failed: state.failed.join(', ') || undefined,
    'devices touched': state.touched,
    took: isOver(state) ? `${((state.phaseSinceMs - state.startedMs) / 1000).toFixed(1)} s` : undefined,
  });
  const rows = devices?.map(({ stage, deviceId, connected, has }) => [stage, deviceId, connected ? 'yes' : 'no', has]);
  return {
    json: { ...documentOfRollout(rollout), ...(devices === undefined ? {} : { devices }) },
    text:
      rows === undefined || rows.length === 0
        ? lines
        : `${lines}\n\n${table(['stage', 'device', 'connected', 'has'], rows)}`,
  };
}

/** Lists rollouts for people. */
export function rolloutTable(rollouts: readonly Rollout[]): string {
  const rows = rollouts.map((rollout) => [
    rollout.request.service,
    rollout.request.image,
    new Date(rollout.state.startedMs).toISOString(),
    describeProgress(rollout),
  ]);
  return table(['service', 'image', 'started', 'state'], rows);
}

/** A rollout for programs. */
export function documentOfRollout({ id, priority, request, state }: Rollout): Record<string, unknown> {
  const { startedMs, phaseSinceMs, stage, ...rest } = state;
  const { settings: _manifest, ...asked } = request;
  const current = request.stages[stage];
  return {
    id,
    priority,
    ...asked,
    ...rest,
    stage: { number: stage + 1, of: request.stages.length, name: current && stageName(current) },
    startedAt: new Date(startedMs).toISOString(),
    phaseSince: new Date(phaseSinceMs).toISOString(),
  };
}

function plannedDocument({ stages, reference, image }: RolloutRequest, device: PlannedDevice) {
  const stage = device.stage === undefined ? undefined : stages[device.stage];
  return {
    deviceId: device.deviceId,
    stage: stage === undefined ? 'at the end' : stageName(stage),
    connected: device.connected,
    has: device.image === undefined ? 'nothing' : device.image === reference ? image : device.image,
    gets: image,
  };
}
