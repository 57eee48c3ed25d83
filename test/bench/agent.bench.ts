import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AgentStatus } from '../../agent/status/agent-status.ts';
import { Rig } from '../agent/rig.ts';
import { until } from '../until.ts';
import { MeasuredAgent, type MeasuredAgentOptions } from './agent/measured-agent.ts';
import { measureModelUpdate } from './agent/model-update.ts';
import type { Bench, Measure } from './measure.ts';

/** Deployments of the soak. */
const deployments = Number(process.env['DEPLOYMENTS'] ?? 1000);
/** Memory settles while the first ones go on. */
const warmUp = 50;
/** How long nothing happens before memory is looked at, in milliseconds. */
const idleMs = 10_000;
const starts = 5;

/** The agent as `npm run build` makes it, with the process engine, against a hub and a registry in the bench's own process. */
export async function openBench(): Promise<Bench> {
  await promisify(execFile)(process.execPath, [fileURLToPath(new URL('../../.build/build.ts', import.meta.url))]);
  const { idleMb, grownMb, readyMs, offlineMs } = await measureLife();
  const update = await measureModelUpdate();
  const once = (figure: string, unit: string, value: number, atMost: number): Measure => ({
    figure,
    unit,
    sample: async () => value,
    bar: { atMost },
    rounds: 1,
  });
  return {
    measures: [
      once('idle with one module, resident', 'MB', idleMb, 90),
      once(`grown over ${deployments} deployments`, 'MB', grownMb, 15),
      once('process start to module running and hub connected', 'ms', readyMs, 1500),
      once('process start to module running, no network', 'ms', offlineMs, 3000),
      once('model of 1 MB updated, hub to scoring', 'ms', update.tookMs, 5000),
      {
        ...once('the same, bytes from and to the registry', 'bytes', update.registryBytes, 1.2),
        reference: { name: 'the model', sample: async () => update.modelBytes },
      },
      {
        ...once('the same, with what the hub said and was told', 'bytes', update.registryBytes + update.hubBytes, 1.2),
        reference: { name: 'the model', sample: async () => update.modelBytes },
      },
    ],
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** One agent from its first deployment over many more to several starts after power cuts. */
async function measureLife(): Promise<{ idleMb: number; grownMb: number; readyMs: number; offlineMs: number }> {
  await using rig = await Rig.open();
  const { stateFolder, connectionString, caFile } = rig;
  const place = { stateFolder, connectionString, caFile };
  const image = await rig.putImage();
  const deploy = (generation: number): Promise<number> => rig.deploy({ digits: { image, env: { generation } } });
  const last = warmUp + deployments;
  let grownMb: number;
  let idleMb: number;
  {
    await using agent = new MeasuredAgent(place);
    await rig.reported(await deploy(0), 200);
    await sleep(idleMs);
    idleMb = agent.residentMb;
    let beforeMb = idleMb;
    for (let generation = 1; generation <= last; generation += 1) {
      await rig.reported(await deploy(generation), 200, 60_000);
      if (generation === warmUp) beforeMb = agent.residentMb;
      if (generation % 100 === 0) process.stderr.write(`  ${generation} deployments: ${agent.residentMb} MB\n`);
    }
    await sleep(idleMs);
    grownMb = agent.residentMb - beforeMb;
  }
  const readyMs = await medianStart(place, ({ connection, deployment, modules }) => {
    return connection.isUp && deployment.code === 200 && modules.every(({ status }) => status === 'running');
  });
  // The modules of the last start have ended with it, as after a power cut; nothing answers any more.
  await Promise.all([rig.hub.close(), rig.registry.close()]);
  const offlineMs = await medianStart(place, ({ modules }) => {
    return modules.length > 0 && modules.every(({ status }) => status === 'running');
  });
  return { idleMb, grownMb, readyMs, offlineMs };
}

/** Starts the agent several times, and gives how long it took to be as it is to be; the median. */
async function medianStart(place: MeasuredAgentOptions, isReady: (status: AgentStatus) => boolean): Promise<number> {
  const times: number[] = [];
  for (let start = 0; start < starts; start += 1) {
    const before = performance.now();
    await using agent = new MeasuredAgent(place);
    await until(async () => isReady(await agent.status()));
    times.push(performance.now() - before);
  }
  return times.toSorted((a, b) => a - b)[starts >> 1] ?? Number.NaN;
}
