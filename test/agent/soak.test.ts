import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AgentProcess } from './agent-process.ts';
import { Rig, waitingScript } from './rig.ts';

/** Deployments of the soak; `npm run bench -- agent` has a thousand and looks at memory. */
const deployments = Number(process.env['DEPLOYMENTS'] ?? 6);
/** What is opened once and kept, such as SQLite's files, comes with the first ones. */
const warmUp = 4;

test('pain 1, an agent that grows for weeks: no file, socket, process or image is left over after many deployments', async () => {
  await using rig = await Rig.open();
  const images = [await rig.putImage(), await rig.putImage(`${waitingScript}\n# another`)];
  const place = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'process', '--log-level', 'error'];
  await using agent = new AgentProcess(place, { FERRY_DEVICE_CONNECTION_STRING: rig.connectionString });
  const left = async (): Promise<Record<string, number>> => ({
    files: (await readdir(`/proc/${agent.pid}/fd`)).length,
    containers: (await readdir(join(rig.stateFolder, 'processes/containers'))).length,
    roots: (await readdir(join(rig.stateFolder, 'processes/roots'))).length,
    blobs: (await readdir(join(rig.stateFolder, 'images/blobs/sha256'))).length,
    folder: (await readdir(rig.stateFolder)).length,
  });
  let before: Record<string, number> = {};
  for (let generation = 0; generation < warmUp + deployments; generation += 1) {
    const image = images[generation % images.length] ?? '';
    await rig.reported(await rig.deploy({ digits: { image, env: { generation } } }), 200, 30_000);
    if (generation === warmUp - 1) before = await left();
  }
  const { files = 0, ...after } = await left();
  expect({ ...after, files: before['files'] }).toEqual(before);
  // A connection of the registry or of an identity request may just be open.
  expect(Math.abs(files - (before['files'] ?? 0))).toBeLessThanOrEqual(4);
}, 120_000);
