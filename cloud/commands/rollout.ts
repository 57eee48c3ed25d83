import { type Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import { FerryError } from '../../shared/errors.ts';
import { HubClient } from '../azure/hub-client.ts';
import type { CommandResult } from '../cli/result.ts';
import { addWork, collectPair, positiveInteger, type Session } from '../cli/session.ts';
import { tagCondition } from '../deploy/iotedge/edge-deployment.ts';
import { knownImages } from '../fleet/known-images.ts';
import { finishRollout } from '../rollout/finish-rollout.ts';
import { describeProgress, followRollout } from '../rollout/follow-rollout.ts';
import { advanced } from '../rollout/next-state.ts';
import { parseStage } from '../rollout/parse-stage.ts';
import { planDeployment } from '../rollout/plan-deployment.ts';
import { changeRollout, findRollout, listRollouts, type Rollout } from '../rollout/rollout.ts';
import { readRolloutFile, type RolloutFile } from '../rollout/rollout-file.ts';
import { checkPlan, planRollout } from '../rollout/rollout-plan.ts';
import type { RolloutInput } from '../rollout/rollout-request.ts';
import { isGivenUp, isOver, type RolloutState } from '../rollout/rollout-state.ts';
import { startRollout } from '../rollout/start-rollout.ts';
import { takeBack } from '../rollout/take-back.ts';
import type { Workspace } from '../workspace/workspace.ts';
import {
  describePlan,
  describeRollout,
  describeRolloutDevices,
  documentOfRollout,
  rolloutTable,
} from './rollout-text.ts';

interface StartFlags {
  readonly image?: string;
  readonly file?: string;
  readonly stage?: RolloutInput['stages'];
  readonly deviceTag?: Record<string, string>;
  readonly targetCondition?: string;
  readonly priority?: number;
  readonly successShare?: number;
  readonly failuresMax?: number;
  readonly restartsMax?: number;
  readonly errorRateMax?: number;
  readonly latencyMsMax?: number;
  readonly metric?: Record<string, string>;
  readonly metricMax?: number;
  readonly plan?: boolean;
  readonly replace?: boolean;
  readonly wait: boolean;
}

interface ShowFlags {
  readonly devices?: boolean;
}

/** Adds the verbs of `ferry edge rollout`. */
export function addRolloutVerbs(noun: Command): void {
  addStart(noun);
  addVerb(noun, 'resume', 'go on with a rollout, here or after a pause, a crash or on another machine', (state) => ({
    ...state,
    paused: false,
  }));
  addVerb(noun, 'next', 'go on to the next stage of a rollout that waits for a person', (state, { request }) =>
    state.phase === 'waiting' ? advanced(request, state, systemClock.nowMs()) : state,
  );

  const pause = noun.command('pause').description('begin no further stage; what is wrong still halts the rollout');
  addWork(pause.argument('<service>', 'the service'), async (session, _flags, [service = '']) => {
    using hub = await openHub(await session.openWorkspace(), session);
    const rollout = await findRollout(hub, service);
    return describeRollout(await changeRollout(hub, underWay(rollout), { ...rollout.state, paused: true }));
  });

  const abort = noun.command('abort').description('end a rollout; its devices go back to what they had before');
  addWork(abort.argument('<service>', 'the service'), async (session, _flags, [service = '']) => {
    using hub = await openHub(await session.openWorkspace(), session);
    const rollout = underWay(await findRollout(hub, service));
    const state = { ...rollout.state, phase: 'aborted' as const, phaseSinceMs: systemClock.nowMs() };
    const aborted = await changeRollout(hub, rollout, { ...state, reason: 'aborted by hand' });
    await takeBack(hub, aborted);
    return describeRollout(aborted);
  });

  addWork(noun.command('list').description('list the rollouts of the hub, the latest first'), async (session) => {
    using hub = await openHub(await session.openWorkspace(), session);
    const all = await listRollouts(hub);
    if (all.length === 0) return { json: [], text: `The hub ${hub.hostName} has no rollout.` };
    return { json: all.map(documentOfRollout), text: rolloutTable(all) };
  });

  const show = noun
    .command('show')
    .description('show the latest rollout of a service, and how many devices of each stage have it')
    .option('--devices', 'also which device has what, as --json does');
  addWork<ShowFlags>(show.argument('<service>', 'the service'), async (session, flags, [service = '']) => {
    const workspace = await session.openWorkspace();
    using hub = await openHub(workspace, session);
    const rollout = await findRollout(hub, service);
    const plan = await planRollout(hub, rollout.request);
    const know = knownImages(workspace.database);
    return describeRolloutDevices(rollout, plan, { know, named: flags.devices === true });
  });
}

function addStart(noun: Command): void {
  const start = noun
    .command('start')
    .description('bring an image to many devices in stages, each proven before the next; back by itself when it fails')
    .argument('<service>', 'name of the service and of its module')
    .option('--image <image>', 'NAME or NAME:VERSION; without a version the latest one')
    .option('--file <file>', 'a YAML file with image, scope, stages, gate and settings; options go over it')
    .option(
      '--stage <stage>',
      'who, then how: TAG=VALUE, N% or devices=A,B; then bake=30m, timeout=1h, name=NAME, manual (several times, in order)',
      (text: string, before?: RolloutInput['stages']) => [...(before ?? []), parseStage(text)],
    )
    .option('--device-tag <key=value>', 'only devices with this tag, may be given several times', collectPair)
    .option('--target-condition <condition>', "only devices that this holds for, in the hub's own words")
    .option('--priority <number>', 'of the deployment (default: above all others)', positiveInteger)
    .option('--success-share <share>', 'share of reachable devices that must succeed in a stage (default: 1)', amount)
    .option('--failures-max <count>', 'devices that may fail (default: 0)', amount)
    .option('--restarts-max <count>', 'restarts that one module may need (default: 3)', amount)
    .option('--error-rate-max <share>', 'share of scoring requests that may fail', amount)
    .option('--latency-ms-max <ms>', 'time within which 95 of 100 requests must be answered', amount)
    .option('--metric <name=query>', "a query in the hub's language; its rows are counted", collectPair)
    .option('--metric-max <rows>', 'rows that each such query may give (default: 0)', amount)
    .option('--replace', 'lets modules of other deployments go from the devices')
    .option('--no-wait', 'begins the first stage and ends; go on with `ferry edge rollout resume`')
    .addOption(new Option('--plan', 'only says which device gets what in which stage'));
  addWork<StartFlags>(start, async (session, flags, [service = '']) => {
    const workspace = await session.openWorkspace();
    using hub = await openHub(workspace, session);
    const where = { workspace, hub, signal: session.signal };
    const { request, deployment, platform } = await planDeployment(where, service, await askedOf(flags));
    if (flags.plan) {
      const plan = await planRollout(hub, request);
      checkPlan(request, plan);
      return describePlan(request, plan, knownImages(workspace.database));
    }
    const options = { platform, replace: flags.replace === true, clock: systemClock, note: noteOf(session) };
    const rollout = await startRollout(hub, request, deployment, options);
    return flags.wait ? follow(session, { workspace, hub, rollout }) : describeRollout(rollout);
  });
}

/** Adds a verb that changes a rollout and then goes on with it. */
function addVerb(
  noun: Command,
  name: string,
  description: string,
  change: (state: RolloutState, rollout: Rollout) => RolloutState,
): void {
  const verb = noun.command(name).description(description).argument('<service>', 'the service');
  addWork(verb, async (session, _flags, [service = '']) => {
    const workspace = await session.openWorkspace();
    using hub = await openHub(workspace, session);
    const found = await findRollout(hub, service);
    const state = change(found.state, found);
    const isSame = JSON.stringify(state) === JSON.stringify(found.state);
    const rollout = isOver(found.state) || isSame ? found : await changeRollout(hub, found, state);
    return follow(session, { workspace, hub, rollout });
  });
}

async function follow(
  session: Session,
  parts: { readonly workspace: Workspace; readonly hub: HubClient; readonly rollout: Rollout },
): Promise<CommandResult> {
  const { workspace, hub, rollout } = parts;
  const options = { hub, clock: systemClock, signal: session.signal, note: noteOf(session) };
  const ended = await followRollout(rollout.id, options);
  await finishRollout(workspace, hub, ended);
  const result = describeRollout(ended);
  if (ended.state.phase === 'waiting') session.note(`Go on with: ferry edge rollout next ${ended.request.service}`);
  if (!isGivenUp(ended.state)) return result;
  return {
    ...result,
    failure: new FerryError(
      'ROLLOUT_HALTED',
      `Cannot roll "${ended.request.service}" out: ${describeProgress(ended)}; its devices went back to what they had`,
    ),
  };
}

/** Options go over what the file says. */
async function askedOf(flags: StartFlags): Promise<RolloutFile> {
  const file = flags.file === undefined ? {} : await readRolloutFile(flags.file);
  const { image, stage: stages, priority } = flags;
  const scope = scopeOf(flags);
  return {
    ...file,
    ...(image && { image }),
    ...(stages && { stages: [...stages] }),
    ...(priority && { priority }),
    ...(scope && { scope }),
    gate: { ...file.gate, ...gateOf(flags) },
  };
}

function scopeOf({ deviceTag, targetCondition }: StartFlags): string | undefined {
  if (deviceTag !== undefined && targetCondition !== undefined)
    throw new FerryError(
      'USAGE',
      'Cannot roll out: both --device-tag and --target-condition are given, one was wanted',
    );
  return deviceTag === undefined ? targetCondition?.trim() : tagCondition(deviceTag);
}

function gateOf(flags: StartFlags): Record<string, unknown> {
  const { successShare, failuresMax, restartsMax, errorRateMax, latencyMsMax, metric, metricMax = 0 } = flags;
  const metrics = Object.entries(metric ?? {}).map(([name, query]) => [name, { query, max: metricMax }]);
  const given = { successShareMin: successShare, failuresMax, restartsMax, errorRateMax, latencyMsMax };
  return {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    ...(metric === undefined ? {} : { metrics: Object.fromEntries(metrics) as Record<string, unknown> }),
  };
}

function underWay(rollout: Rollout): Rollout {
  if (!isOver(rollout.state)) return rollout;
  throw new FerryError(
    'ROLLOUT_NOT_FOUND',
    `Cannot change the rollout of "${rollout.request.service}": it is ${rollout.state.phase}, one under way was wanted`,
  );
}

function noteOf(session: Session): (line: string) => void {
  return (line) => session.note(line);
}

function openHub(workspace: Workspace, session: Session): Promise<HubClient> {
  return HubClient.open(workspace, session.signal);
}

function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError(`It is "${text}", a number from 0 was wanted.`);
  return value;
}
