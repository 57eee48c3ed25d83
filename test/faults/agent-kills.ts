import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { resetAgent } from '../../agent/reset.ts';
import { createLogger } from '../../shared/log.ts';
import { AgentProcess } from '../agent/agent-process.ts';
import { removeDockerImages } from '../agent/docker-leftovers.ts';
import { Rig } from '../agent/rig.ts';
import { Random } from '../random.ts';
import { until } from '../until.ts';
import { expectWholeImages, expectWholeState, foundModules } from './agent-leftovers.ts';
import { KillPoints, logLines, stepName } from './agent-steps.ts';
import { type Modules, type Update, type UpdateKind, Updates } from './agent-updates.ts';
import { type LinkProfile, NetworkLink } from './network-link.ts';

/** How long it may take the agent to write the line at which it is killed, in milliseconds; it is killed then as well. */
const lineTimeoutMs = 4_000;
/** Lines at which an agent is killed that has just been started again, at most, and how long after them, in milliseconds. */
const [startLinesMax, startMs] = [5, 600];
/** How long a device may take to come to what it is to be, in milliseconds. */
const settledTimeoutMs = 180_000;

type EngineKind = 'process' | 'docker';

/** What is between an agent and the rest of the world. */
interface LinkToAgent {
  readonly profile: LinkProfile;
  /** How long it is there and is not, in turn, in milliseconds. @default it is never cut */
  readonly offlineMs?: number;
}

/** What {@link killAtSteps} does. */
interface KillOptions {
  readonly engine: EngineKind;
  /** How often the agent is killed. */
  readonly points: number;
  readonly seed: number;
  /** @default it is on this machine's own network */
  readonly link?: LinkToAgent;
}

/**
 * Kills an agent again and again in one device's life, at each step of each kind of update in turn, and gives the exit code of the last
 * one, which is told to end. What steps a kind has is learned the first time, when nobody is killed.
 */
export async function killAtSteps({ engine, points: wanted, seed, link: over }: KillOptions): Promise<number | null> {
  await using rig = await Rig.open();
  const random = new Random(seed);
  const updates = await Updates.open(rig, random);
  const points = new KillPoints(random);
  const args = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', engine, '--log-level', 'info'];
  await using link = over === undefined ? undefined : await openLink(rig, over);
  const start = (): AgentProcess =>
    new AgentProcess(args, { FERRY_DEVICE_CONNECTION_STRING: rig.connectionString }, link?.through);
  // Nobody outside reaches a port of the loopback in there.
  const kinds = link === undefined ? updates.kinds : updates.kinds.filter(({ isCalled }) => isCalled !== true);
  await using agents = new AsyncDisposableStack();
  agents.defer(async () => {
    await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
    if (engine === 'docker') await removeDockerImages([...updates.images]);
  });
  let agent = agents.use(start());
  let now: Modules = {};
  while (points.total < wanted) {
    const kind = nextKind(kinds, { now, points, random });
    const update = await kind.make(now);
    const linesBefore = logLines(agent.output).length;
    const begunMs = Date.now();
    await using doing = await begin(rig, update, kind.isCalled === true ? updates.scoringUrl : undefined);
    const killedAt: string[] = [];
    if (points.knows(kind.name)) {
      const { lines, tookMs } = points.next(kind.name);
      killedAt.push(
        await killAt(agent, { from: linesBefore, lines, afterMs: random.oneIn(2) ? 0 : random.below(tookMs + 1) }),
      );
      points.note(kind.name, killedAt.at(-1) ?? '');
      agent = agents.use(start());
      // The next one may be killed as well, as it takes up what the one before has left.
      for (let more = random.oneIn(3) ? random.between(1, 2) : 0; more > 0; more -= 1) {
        const step = await killAt(agent, {
          from: 0,
          lines: random.below(startLinesMax),
          afterMs: random.below(startMs),
        });
        killedAt.push(`${step}, started again`);
        points.note(kind.name, killedAt.at(-1) ?? '');
        agent = agents.use(start());
      }
    }
    const keep = update.keep ?? (update.deploy as Modules);
    try {
      await rig.reported(doing.version, update.code ?? 200, settledTimeoutMs);
      await expectDevice(rig, engine, keep);
      // What was reported may have been by the one before: this one may have only begun.
      await until(() => agent.output.includes('connected to the hub'), { timeoutMs: 30_000 });
    } catch (cause) {
      const story = [
        `${engine}, point ${points.total}, ${kind.name}; killed after:`,
        ...killedAt,
        'then:',
        agent.output,
      ];
      throw new Error(story.join('\n'), { cause });
    }
    if (!points.knows(kind.name)) points.learn(kind.name, logLines(agent.output).slice(linesBefore), begunMs);
    now = keep;
    if (wanted > 10) console.log(engine, seed, points.total, kind.name, killedAt.join('; '));
  }
  console.log(`${engine}, seed ${seed}, ${points.total} points, ${points.openSteps} steps open:\n${points.table}`);
  await rig.reported(await rig.deploy({}), 200, settledTimeoutMs);
  await expectDevice(rig, engine, {});
  agent.signal('SIGTERM');
  // Not before it has ended is it disposed of.
  return await agent.exitCode();
}

/** Picks a kind that can be done now: one of which most steps are open, itself or by what it leads to. */
function nextKind(
  kinds: readonly UpdateKind[],
  { now, points, random }: { readonly now: Modules; readonly points: KillPoints; readonly random: Random },
): UpdateKind {
  const possible = kinds.filter(({ fits }) => fits(now));
  const openOf = ({ name, leadsTo }: UpdateKind): number =>
    Math.max(points.open(name), leadsTo === undefined ? 0 : points.open(leadsTo));
  const most = Math.max(...possible.map(openOf));
  // Short runs are to differ: a kind whose steps are all unknown is no better than one with a few left.
  const due = possible.filter((kind) => openOf(kind) >= Math.min(most, 1));
  const kind = due[random.below(due.length)];
  if (kind === undefined) throw new Error('no kind of update fits');
  return kind;
}

/** Opens a link to where the agent is, and cuts it again and again where it is to be. */
async function openLink(
  rig: Rig,
  { profile, offlineMs }: LinkToAgent,
): Promise<{ readonly through: readonly string[] } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const link = stack.use(await NetworkLink.open([rig.hub.port, Number(rig.registry.host.split(':')[1])], profile));
  const over = new AbortController();
  const cutting = offlineMs === undefined ? Promise.resolve() : cutUntil(link, offlineMs, over.signal);
  stack.defer(() => {
    over.abort();
    return cutting;
  });
  const disposal = stack.move();
  return { through: link.through, [Symbol.asyncDispose]: () => disposal.disposeAsync() };
}

async function cutUntil(link: NetworkLink, offlineMs: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await wait(offlineMs);
    link.cut();
    await wait(offlineMs);
    link.mend();
  }
}

/** An update that the hub knows of. */
interface Begun extends AsyncDisposable {
  /** Of the desired properties. */
  readonly version: number;
}

/** Has the hub tell the device what it is to do, and asks the scoring module meanwhile where that is a part of it. */
async function begin(rig: Rig, { deploy, restart }: Update, calledUrl: string | undefined): Promise<Begun> {
  const version =
    typeof deploy === 'string' ? await rig.setDesired({ schemaVersion: deploy }) : await rig.deploy(deploy);
  // Nobody may live to tell.
  if (restart !== undefined) {
    rig.callMethod('RestartModule', { schemaVersion: '1.0', id: restart }).catch(() => undefined);
  }
  const over = new AbortController();
  const calling = calledUrl === undefined ? Promise.resolve() : callUntil(calledUrl, over.signal);
  return {
    version,
    [Symbol.asyncDispose]: () => {
      over.abort();
      return calling;
    },
  };
}

/** Asks a module again and again, whatever it answers. */
async function callUntil(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await fetch(url, { method: 'POST', body: '{}', signal: AbortSignal.timeout(2_000) })
      .then((answer) => answer.text())
      .catch(() => undefined);
    await wait(20);
  }
}

/**
 * Kills an agent after so many lines of its log, or when they do not come, and names the step that it was at.
 * @param moment.from lines that do not count
 */
async function killAt(
  agent: AgentProcess,
  { from, lines, afterMs }: { readonly from: number; readonly lines: number; readonly afterMs: number },
): Promise<string> {
  await agent.killWhen((output) => logLines(output).length >= from + lines, { afterMs, timeoutMs: lineTimeoutMs });
  return stepName(logLines(agent.output).slice(from).at(-1));
}

/** Sees that exactly these modules run, each once and as it is to be, and that no half of anything is left. */
async function expectDevice(rig: Rig, engine: EngineKind, modules: Modules): Promise<void> {
  const wanted = Object.entries(modules)
    .map(([name, { image, env }]) => ({ name, image, count: String(env?.['COUNT']), running: 1 }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  let found: unknown;
  await until(
    async () => {
      found = await foundModules(rig, engine);
      expect(found).toEqual(wanted);
      return true;
    },
    { timeoutMs: settledTimeoutMs, what: 'what is to run, and nothing else' },
  );
  await expectWholeState(rig);
  await expectWholeImages(rig);
}
