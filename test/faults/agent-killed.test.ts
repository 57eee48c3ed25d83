import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { processesWith } from '../../shared/containers/process/process-identity.ts';
import { until } from '../until.ts';
import { AgentProcess } from '../agent/agent-process.ts';
import { Rig, waitingScript } from '../agent/rig.ts';

/** How often the agent is killed; more of it finds more: FERRY_KILLS=500. */
const kills = Number(process.env['FERRY_KILLS'] ?? 6);
const seed = Number(process.env['FERRY_SEED'] ?? Date.now() % 1_000_000);
/** Until when after its start the agent is killed, in milliseconds; by then it is done with a deployment. */
const killWithinMs = 2_500;

test(
  `an agent that is killed at any moment of an update comes to what is desired, with nothing left over (FERRY_SEED=${seed})`,
  async () => {
    await using rig = await Rig.open();
    const random = randomNumbers(seed);
    const images = [await rig.putImage(), await rig.putImage(`${waitingScript}\n# another`)];
    const args = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'process', '--log-level', 'warn'];
    const start = (): AgentProcess => new AgentProcess(args, { FERRY_DEVICE_CONNECTION_STRING: rig.connectionString });
    for (let count = 0; count < kills; count += 1) {
      const image = images[count % 2] ?? '';
      const modules = { first: { image, env: { COUNT: count } }, [`second${count % 3}`]: { image } };
      const version = await rig.deploy(modules);
      {
        await using killed = start();
        await wait(random() * killWithinMs);
        killed.signal('SIGKILL');
      }
      await using agent = start();
      await rig.reported(version, 200, 20_000);
      await expectOnly(rig, Object.keys(modules));
      agent.signal('SIGKILL');
    }
    await using last = start();
    await rig.reported(await rig.deploy({}), 200);
    await expectOnly(rig, []);
    last.signal('SIGTERM');
    expect(await last.exitCode()).toBe(0);
  },
  60_000 + kills * 15_000,
);

/** Sees that exactly these modules run, each once, and that no half of anything is left. */
async function expectOnly(rig: Rig, modules: readonly string[]): Promise<void> {
  const engine = join(rig.stateFolder, 'processes');
  expect((await readdir(join(engine, 'containers'))).toSorted()).toEqual(modules.toSorted());
  for (const module of ['first', 'second0', 'second1', 'second2']) {
    const wanted = modules.includes(module) ? 1 : 0;
    await until(
      async () => {
        const pids = await processesWith('MODELFERRY_PROCESS', join(engine, module));
        const groups = await Promise.all(pids.map(groupOf));
        return new Set(groups).size === wanted;
      },
      { what: `${wanted} of ${module}` },
    );
  }
  const roots = await readdir(join(engine, 'roots')).catch(() => []);
  expect(roots.filter((name) => !/^sha256-[0-9a-f]{64}$/.test(name))).toEqual([]);
}

/** Gives the process group of a process: a module's whole family has one. */
async function groupOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2] ?? '';
}

/** A generator of numbers from 0 to 1 that gives the same ones for the same seed (mulberry32). */
function randomNumbers(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
