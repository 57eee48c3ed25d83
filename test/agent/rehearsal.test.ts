import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { freePort } from '../../agent/apply/free-port.ts';
import { dockerAnswers } from '../docker.ts';
import { until } from '../until.ts';
import { removeFromDocker } from './docker-leftovers.ts';
import { Rig } from './rig.ts';

/** A module that scores on a port of this machine. */
function scoringModule(image: string, port: number, env: Record<string, string> = {}) {
  const createOptions = {
    HostConfig: { PortBindings: { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] } },
  };
  return { image, env, createOptions };
}

/** Asks a module without a pause, and counts. */
class Caller implements AsyncDisposable {
  readonly answers = new Map<string, number>();
  /** Longest time from one answer to the next, in milliseconds. */
  gapMs = 0;
  readonly #calling: Promise<void>;
  readonly #over = new AbortController();

  constructor(port: number) {
    this.#calling = this.#call(`http://127.0.0.1:${port}/score`);
  }

  async #call(url: string): Promise<void> {
    let last = performance.now();
    while (!this.#over.signal.aborted) {
      const text = await fetch(url, { method: 'POST', body: '{}', signal: AbortSignal.timeout(5_000) })
        .then((answer) => answer.text())
        .catch(() => undefined);
      if (text !== undefined) {
        this.answers.set(text, (this.answers.get(text) ?? 0) + 1);
        this.gapMs = Math.max(this.gapMs, performance.now() - last);
        last = performance.now();
      } else this.answers.set('none', (this.answers.get('none') ?? 0) + 1);
      await wait(5);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#calling;
  }
}

const pidOf = (rig: Rig): Promise<string> => readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8');
/** How long a deployment may take: the image of a scoring module has all of Node. */
const timeoutMs = 60_000;
const one = '{"y":[1]}';
const two = '{"y":[2]}';

for (const engine of ['process', 'docker'] as const) {
  test.skipIf(engine === 'docker' && !dockerAnswers)(
    `runAgent() with ${engine} starts a new module beside the old, which gives way when the new has scored its sample right`,
    async () => {
      await using rig = await Rig.open();
      const agent = rig.startAgent({ engine });
      const port = await freePort();
      const image = await rig.putScoringImage();
      await rig.reported(await rig.deploy({ digits: scoringModule(image, port) }), 200, timeoutMs);
      await using caller = new Caller(port);
      const next = await rig.putScoringImage({ script: '// next', answer: 2 });
      await rig.reported(await rig.deploy({ digits: scoringModule(next, port, { ANSWER: '2' }) }), 200, timeoutMs);
      await until(() => (caller.answers.get(two) ?? 0) > 0);
      expect(caller.answers.get(one)).toBeGreaterThan(0);
      expect(await readdir(join(rig.stateFolder, 'modules'))).toEqual(['digits']);
      await agent.stop();
      if (engine === 'docker') await removeFromDocker(rig, [image, next]);
    },
    180_000,
  );
}

test('runAgent() never stops what runs for a module that rehearses badly, lets a newer one win, and takes back one that fails its requests', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const port = await freePort();
  const image = await rig.putScoringImage();
  await rig.reported(await rig.deploy({ digits: scoringModule(image, port) }), 200, timeoutMs);
  const before = await pidOf(rig);
  const containers = join(rig.stateFolder, 'processes', 'containers');
  await using caller = new Caller(port);

  const wrong = await rig.deploy({ digits: scoringModule(image, port, { ANSWER: '2' }) });
  const { lastDesiredStatus, modules } = await rig.reported(wrong, 500, timeoutMs);
  expect(lastDesiredStatus?.description).toBe(
    'Taken back, the deployment before is in force: the module "digits" does not rehearse well, it scores its sample wrong: y[0] is 2, 1 was wanted; what ran was not stopped',
  );
  expect(Object.keys(modules ?? {})).toEqual(['digits']);
  await until(async () => (await readdir(containers)).length === 1);

  const ending = await rig.deploy({ digits: scoringModule(image, port, { ENDS: '3', API_KEY: 'xyzzy-plugh' }) });
  const { description = '' } = (await rig.reported(ending, 500, timeoutMs)).lastDesiredStatus ?? {};
  expect(description).toContain('it ended by itself 2 times, last with exit code 3');
  expect(description).toContain('it last said: cannot load the model with [secret]');

  await rig.deploy({ digits: scoringModule(image, port, { READY: '503' }) });
  await until(async () => (await readdir(containers)).includes('digits.rehearsal'));
  expect(await pidOf(rig)).toBe(before);
  expect([...caller.answers.keys()]).toEqual([one]);
  await rig.reported(await rig.deploy({ digits: scoringModule(image, port, { WORD: 'newer' }) }), 200, timeoutMs);
  await until(async () => (await pidOf(rig)) !== before);
  expect(await readdir(containers)).toEqual(['digits']);

  const failing = await rig.deploy({ digits: scoringModule(image, port, { FAILS: '0.5' }) });
  expect((await rig.reported(failing, 500, timeoutMs)).lastDesiredStatus?.description).toMatch(
    /"digits" does not run well, it failed \d+ of \d+ requests, \d+ % where it was 0 % before/,
  );

  // A port that is not free shows only when the module takes its place.
  await using other = createServer().listen({ port: 0, host: '127.0.0.1' });
  await once(other, 'listening');
  const taken = (other.address() as AddressInfo).port;
  await rig.deploy({ digits: scoringModule(image, taken) });
  await until(
    async () => {
      const status = (await rig.twin()).properties.reported.lastDesiredStatus;
      return status?.description.match(/^Taken back.*another program listens there/) && status;
    },
    { timeoutMs, what: 'what ran before is back' },
  );
  await until(async () => (await (await fetch(`http://127.0.0.1:${port}/score`, { method: 'POST' })).text()) === one);
}, 240_000);

test('runAgent() takes a first module that scores its sample wrong for no success', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putScoringImage({ answer: 5 });
  const { lastDesiredStatus } = await rig.reported(
    await rig.deploy({ digits: scoringModule(image, await freePort()) }),
    500,
    timeoutMs,
  );
  expect(lastDesiredStatus?.description).toBe(
    'The module "digits" does not run well: it scores its sample wrong: y[0] is 1, 5 was wanted',
  );
}, 120_000);
