import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { freePort } from '../../agent/apply/free-port.ts';
import { resetAgent } from '../../agent/reset.ts';
import type { ModuleToDeploy } from '../../shared/edge/build-manifest.ts';
import { createLogger } from '../../shared/log.ts';
import { AgentProcess } from '../agent/agent-process.ts';
import { removeDockerImages } from '../agent/docker-leftovers.ts';
import { Rig, waitingScript } from '../agent/rig.ts';
import { dockerAnswers } from '../docker.ts';
import { Random } from '../random.ts';
import { until } from '../until.ts';
import { expectWholeImages, foundModules } from './agent-leftovers.ts';

/** How often the agent of each engine is killed; more of it finds more. */
const points = Number(process.env['AGENT_KILL_POINTS'] ?? 4);
const seed = Number(process.env['FERRY_SEED'] ?? Date.now() % 1_000_000);
/** How long after a line of its log the agent is killed at most, in milliseconds: a step takes about as long. */
const killAfterLineMs = 80;
/** Lines that the agent writes from the arrival of a deployment until it is done with it, at most. */
const linesMax = 20;
/** How long it may take the agent to write the line at which it is killed, in milliseconds; it is killed then as well. */
const lineTimeoutMs = 4_000;

type Modules = Readonly<Record<string, ModuleToDeploy>>;

/** One kind of update: what is to be deployed, and what the device is to run in the end. */
interface Update {
  readonly deploy: Modules;
  /** @default what is deployed */
  readonly keep?: Modules;
  /** A module that is to be started anew by a direct method, with nothing deployed. */
  readonly restart?: string;
}

/** Makes updates of every kind from what is deployed now. */
class Updates {
  readonly #rig: Rig;
  readonly #random: Random;
  readonly #scoring: ModuleToDeploy;
  #count = 0;

  constructor(rig: Rig, random: Random, scoring: ModuleToDeploy) {
    this.#rig = rig;
    this.#random = random;
    this.#scoring = scoring;
  }

  async next(now: Modules): Promise<readonly [kind: string, Update]> {
    this.#count += 1;
    const COUNT = this.#count;
    const [first] = Object.entries(now);
    if (first === undefined) return ['first deployment', { deploy: { first: await this.#newModule(COUNT) } }];
    const { scored, ...others } = now;
    if (scored === undefined) {
      return ['a module more', { deploy: { ...now, scored: { ...this.#scoring, env: { COUNT, ANSWER: 1 } } } }];
    }
    const bad = { ...scored, env: { COUNT, ANSWER: 2 } };
    // More memory than there is: it takes the place of the one before without a rehearsal.
    const host = { ...scored.createOptions?.HostConfig, Memory: 2 ** 40 };
    const kinds: readonly [string, () => Promise<Update>][] = [
      ['new image', async () => ({ deploy: { ...now, first: await this.#newModule(COUNT) } })],
      [
        'new environment',
        async () => ({ deploy: { ...now, first: { ...(now['first'] ?? first[1]), env: { COUNT } } } }),
      ],
      ['removal', async () => ({ deploy: { scored } })],
      ['removal of all', async () => ({ deploy: {} })],
      ['several modules', async () => this.#several(others, { scored, COUNT })],
      ['rehearsal', async () => ({ deploy: { ...now, scored: { ...scored, env: { COUNT, ANSWER: 1 } } } })],
      ['bad rehearsal', async () => ({ deploy: { ...now, scored: bad }, keep: now })],
      [
        'taken back',
        async () => ({ deploy: { ...now, scored: { ...bad, createOptions: { HostConfig: host } } }, keep: now }),
      ],
      ['restart', async () => ({ deploy: now, restart: 'scored' })],
    ];
    const [kind, make] = kinds[this.#random.below(kinds.length)] ?? ['', async () => ({ deploy: now })];
    return [kind, await make()];
  }

  async #several(others: Modules, { scored, COUNT }: { scored: ModuleToDeploy; COUNT: number }): Promise<Update> {
    const image = await this.#newModule(COUNT);
    return {
      deploy: {
        ...others,
        first: { ...image, startupOrder: 1 },
        [`more${COUNT % 3}`]: { ...image, startupOrder: 2 },
        scored: { ...scored, env: { COUNT, ANSWER: 1 } },
      },
    };
  }

  /** A module of an image that the device has never seen: its layer of some size comes over the wire. */
  async #newModule(COUNT: number): Promise<ModuleToDeploy> {
    const padding = this.#random.bytes(30_000).toString('hex');
    return { image: await this.#rig.putImage(`${waitingScript}\n# ${padding}`), env: { COUNT } };
  }
}

const claim = `that is killed at any step of any update comes to what is desired or was good, with nothing left over (FERRY_SEED=${seed})`;
const timeoutMs = 120_000 + points * 30_000;

test.concurrent(
  `an agent with processes ${claim}`,
  async () => {
    expect(await killAtSteps('process')).toBe(0);
  },
  timeoutMs,
);

test.skipIf(!dockerAnswers).concurrent(
  `an agent with Docker ${claim}`,
  async () => {
    expect(await killAtSteps('docker')).toBe(0);
  },
  timeoutMs,
);

/** Kills an agent again and again, and gives the exit code of the last one, which is told to end. */
async function killAtSteps(engine: 'process' | 'docker'): Promise<number | null> {
  await using rig = await Rig.open();
  const random = new Random(seed);
  const port = await freePort();
  const PortBindings = { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] };
  const scoring = { image: await rig.putScoringImage(), createOptions: { HostConfig: { PortBindings } } };
  const updates = new Updates(rig, random, scoring);
  const images = new Set<string>([scoring.image]);
  const args = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', engine, '--log-level', 'info'];
  const start = (): AgentProcess => new AgentProcess(args, { FERRY_DEVICE_CONNECTION_STRING: rig.connectionString });
  await using agents = new AsyncDisposableStack();
  agents.defer(async () => {
    await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
    if (engine === 'docker') await removeDockerImages([...images]);
  });
  const counts: Record<string, number> = {};
  let agent = agents.use(start());
  let now: Modules = {};
  await rig.reported(await rig.deploy(now), 200, 60_000);
  for (let point = 0; point < points;) {
    const [kind, update] = await updates.next(now);
    for (const { image } of Object.values(update.deploy)) images.add(image);
    const keep = update.keep ?? update.deploy;
    const version = await rig.deploy(update.deploy);
    if (update.restart !== undefined) restartSoon(rig, update.restart);
    const killedAt: string[] = [];
    // The next one may be killed as well, as it takes up what the one before has left.
    for (let kills = 1 + random.below(3); kills > 0; kills -= 1) {
      killedAt.push(await killAtStep(agent, random));
      agent = agents.use(start());
    }
    try {
      await rig.reported(version, update.keep === undefined ? 200 : 500, 60_000);
      await expectDevice(rig, engine, keep);
    } catch (cause) {
      const story = [`${engine}, point ${point}, ${kind}; killed:`, ...killedAt, 'then:', agent.output];
      throw new Error(story.join('\n'), { cause });
    }
    now = keep;
    point += killedAt.length;
    counts[kind] = (counts[kind] ?? 0) + killedAt.length;
    if (points > 10) console.log(engine, seed, point, JSON.stringify(counts));
  }
  await rig.reported(await rig.deploy({}), 200, 60_000);
  await expectDevice(rig, engine, {});
  // Where nothing was left to do, the report may be of the one before: this one may have only begun.
  await until(() => agent.output.includes('connected to the hub'), { timeoutMs: 30_000 });
  agent.signal('SIGTERM');
  // Not before it has ended is it disposed of.
  return await agent.exitCode();
}

/** Kills an agent as it is at some step, and says where. */
async function killAtStep(agent: AgentProcess, random: Random): Promise<string> {
  const linesNow = (): number => agent.output.split('\n').length;
  const from = linesNow();
  const line = random.below(linesMax);
  await until(() => linesNow() - from >= line, { timeoutMs: lineTimeoutMs }).catch(() => undefined);
  const afterMs = random.below(killAfterLineMs);
  await wait(afterMs);
  agent.signal('SIGKILL');
  await agent.exitCode();
  return `${afterMs} ms after ${agent.output.trimEnd().split('\n').at(-1) ?? ''}`;
}

/** Asks for a restart, of which nobody may live to tell. */
function restartSoon(rig: Rig, id: string): void {
  rig.callMethod('RestartModule', { schemaVersion: '1.0', id }).catch(() => undefined);
}

/** Sees that exactly these modules run, each once and as it is to be, and that no half of anything is left. */
async function expectDevice(rig: Rig, engine: 'process' | 'docker', modules: Modules): Promise<void> {
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
    { timeoutMs: 20_000, what: 'what is to run, and nothing else' },
  );
  const record = JSON.parse(await readFile(join(rig.stateFolder, 'desired.json'), 'utf8')) as unknown;
  expect(record).toMatchObject({ deviceId: 'gate' });
  await expectWholeImages(rig);
}
