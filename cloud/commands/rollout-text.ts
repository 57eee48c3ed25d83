import { fields, table } from '../../shared/text-layout.ts';
import type { CommandResult } from '../cli/result.ts';
import type { KnowImage } from '../fleet/known-images.ts';
import { describeProgress } from '../rollout/follow-rollout.ts';
import type { Rollout } from '../rollout/rollout.ts';
import type { PastRollout } from '../rollout/rollout-history.ts';
import type { PlannedDevice } from '../rollout/rollout-plan.ts';
import { type RolloutRequest, stageName } from '../rollout/rollout-request.ts';
import { isOver } from '../rollout/rollout-state.ts';

/** Says which device gets what in which stage, and how many those are. */
export function describePlan(request: RolloutRequest, plan: readonly PlannedDevice[], know: KnowImage): CommandResult {
  const devices = plan.map((device) => plannedDocument(request, device, know));
  const rows = devices.map(({ deviceId, stage, connected, has, gets }) => [
    stage,
    deviceId,
    connected ? 'yes' : 'no',
    has,
    gets,
  ]);
  return {
    json: { service: request.service, image: request.image, scope: request.scope, devices },
    text: `${table(['stage', 'device', 'connected', 'has', 'gets'], rows)}\n\n${stageTable(request, devices)}`,
  };
}

/** Shows a rollout. */
export function describeRollout(rollout: Rollout): CommandResult {
  const { id, priority, request, state } = rollout;
  return {
    json: documentOfRollout(rollout),
    text: fields({
      rollout: request.service,
      image: request.image,
      deployment: `${id}, priority ${priority}`,
      scope: request.scope,
      state: describeProgress(rollout),
      failed: state.failed.join(', ') || undefined,
      'devices touched': state.touched,
      took: isOver(state) ? `${((state.phaseSinceMs - state.startedMs) / 1000).toFixed(1)} s` : undefined,
      before:
        state.history.map((past) => `${past.image}, ${timeText(past.startedMs)}: ${pastText(past)}`).join('\n') ||
        undefined,
    }),
  };
}

/** Shows a rollout, how many devices of each stage have it, and which device has what. */
export function describeRolloutDevices(
  rollout: Rollout,
  plan: readonly PlannedDevice[],
  {
    know,
    named,
  }: { readonly know: KnowImage; /** Whether people want each device, not only counts. */ readonly named: boolean },
): CommandResult {
  const { request } = rollout;
  const devices = plan.map((device) => plannedDocument(request, device, know));
  const rows = devices.map(({ stage, deviceId, connected, has }) => [stage, deviceId, connected ? 'yes' : 'no', has]);
  const parts = [
    describeRollout(rollout).text,
    ...(devices.length === 0 ? [] : [stageTable(request, devices)]),
    ...(named && devices.length > 0 ? [table(['stage', 'device', 'connected', 'has'], rows)] : []),
  ];
  return { json: { ...documentOfRollout(rollout), devices }, text: parts.join('\n\n') };
}

/** Counts the devices of each stage, and those that have the rollout's image. */
function stageTable(request: RolloutRequest, devices: readonly ReturnType<typeof plannedDocument>[]): string {
  const rows = [...new Set(devices.map(({ stage }) => stage))].map((stage) => {
    const those = devices.filter((device) => device.stage === stage);
    const count = (is: (device: (typeof those)[number]) => boolean) => those.filter(is).length;
    return [stage, those.length, count(({ connected }) => !connected), count(({ has }) => has === request.image)];
  });
  return table(['stage', 'devices', 'offline', 'have it'], rows);
}

/** Lists rollouts for people, also those that only a later one remembers; the latest first. */
export function rolloutTable(rollouts: readonly Rollout[]): string {
  const rows = new Map<string, { readonly startedMs: number; readonly cells: readonly string[] }>();
  const add = (service: string, image: string, startedMs: number, text: string): void => {
    const key = `${service} ${image} ${startedMs}`;
    // What the hub has itself comes before what is remembered of it.
    const line = text.replaceAll(/\s+/g, ' ');
    if (!rows.has(key)) rows.set(key, { startedMs, cells: [service, image, timeText(startedMs), line] });
  };
  for (const rollout of rollouts) {
    add(rollout.request.service, rollout.request.image, rollout.state.startedMs, describeProgress(rollout));
  }
  for (const { request, state } of rollouts) {
    for (const past of state.history) add(request.service, past.image, past.startedMs, pastText(past));
  }
  const sorted = [...rows.values()].toSorted((a, b) => b.startedMs - a.startedMs);
  return table(
    ['service', 'image', 'started', 'state'],
    sorted.map(({ cells }) => cells),
  );
}

/** A rollout for programs. */
export function documentOfRollout({ id, priority, request, state }: Rollout): Record<string, unknown> {
  const { startedMs, phaseSinceMs, stage, history, ...rest } = state;
  const { settings: _manifest, ...asked } = request;
  const current = request.stages[stage];
  return {
    id,
    priority,
    ...asked,
    ...rest,
    stage: { number: stage + 1, of: request.stages.length, name: current && stageName(current) },
    startedAt: timeText(startedMs),
    phaseSince: timeText(phaseSinceMs),
    history: history.map(({ startedMs: beganMs, endedMs, ...past }) => ({
      ...past,
      startedAt: timeText(beganMs),
      endedAt: timeText(endedMs),
    })),
  };
}

function pastText({ phase, stage, reason }: PastRollout): string {
  return `${phase} in stage "${stage}"${reason === undefined ? '' : `: ${reason}`}`;
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function plannedDocument({ stages, reference, image }: RolloutRequest, device: PlannedDevice, know: KnowImage) {
  const stage = device.stage === undefined ? undefined : stages[device.stage];
  // A workspace that did not begin the rollout may not know its image.
  const has = device.image === reference ? image : device.image && know(device.image).name;
  return {
    deviceId: device.deviceId,
    stage: stage === undefined ? 'at the end' : stageName(stage),
    connected: device.connected,
    has: has ?? 'nothing',
    gets: image,
  };
}
