import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import type { Image } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import type { Workspace } from '../../../cloud/workspace/workspace.ts';
import { digestOf } from '../../../shared/digest.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { canTrace } from '../../faults/collect/disk-trace.ts';
import { Random } from '../../random.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { documentOf, runFerry } from '../../ferry.ts';
import { type CallPoint, callPoints, killedAtCall } from '../ferry-at-call.ts';
import { identityGraph } from '../models/onnx-writer.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { workspaceRig } from '../workspace-rig.ts';

const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
/** At how many system calls each of the commands is killed; `all` for every one. */
const points = process.env['REBUILD_KILL_POINTS'] ?? '6';
const modelBytes = 8_000_000;

test.runIf(canTrace)(
  'register, build and push that are killed at any system call then succeed, with the digests of an undisturbed run',
  { timeout: 120_000 + (points === 'all' ? 2_000 : Number(points)) * 45_000 },
  async () => {
    console.log(`KILL_SEED=${seed} REBUILD_KILL_POINTS=${points}`);
    const random = new Random(seed);
    await using registry = await startRig();
    await using rig = await workspaceRig();
    await using undisturbed = await workspaceRig();
    await rig.workspace.setEndpoints({ registry: registry.registry.host }, {});
    const file = join(rig.folder, 'model.onnx');

    // The base and the engine are packed by the first build, which is not what is killed here.
    await writeModel(file, random);
    await registerModel(rig.workspace, { path: file, name: 'first' });
    await build(rig.workspace, 'first');
    await writeModel(file, random);
    const whileRegistering = chosen(
      await callPoints(['model', 'register', file, '--name', 'second'], rig.folder),
      random,
    );
    const whileBuilding = chosen(await callPoints(['image', 'create', '--model', 'second:1'], rig.folder), random);
    await writeModel(file, random);
    const whileDoingBoth = chosen(
      await callPoints(['image', 'create', '--model-file', `third=${file}`], rig.folder),
      random,
    );

    const client = new RegistryClient(registry.registry.host);
    const killed = { registering: 0, building: 0, doingBoth: 0 };
    for (let at = 0; at < Math.max(whileRegistering.length, whileBuilding.length); at += 1) {
      const name = `model-${at}`;
      await writeModel(file, random);
      const [registering, building] = [whileRegistering[at], whileBuilding[at]];
      if (registering !== undefined) {
        const args = ['model', 'register', file, '--name', name];
        if (await killedAtCall(args, rig.folder, registering)) killed.registering += 1;
      }
      const { version } = await registerModel(rig.workspace, { path: file, name });
      if (building !== undefined) {
        const args = ['image', 'create', '--model', `${name}:${version}`];
        if (await killedAtCall(args, rig.folder, building)) killed.building += 1;
      }
      const image = await build(rig.workspace, name, version);

      // The kill may have come when the version was there already; then the same command has made one more.
      for (let known = 0; known < version; known += 1) await registerModel(undisturbed.workspace, { path: file, name });
      const wanted = await build(undisturbed.workspace, name, version);
      expect({ registering, building, digest: image.digest }).toEqual({ registering, building, digest: wanted.digest });
      expect((await client.headManifest(name, String(image.version)))?.digest).toBe(image.digest);
    }
    for (const [at, doingBoth] of whileDoingBoth.entries()) {
      const name = `both-${at}`;
      await writeModel(file, random);
      const args = ['image', 'create', '--model-file', `${name}=${file}`];
      if (await killedAtCall(args, rig.folder, doingBoth)) killed.doingBoth += 1;
      const image = documentOf(await runFerry([...args, '--json'], { cwd: rig.folder }), args);

      await registerModel(undisturbed.workspace, { path: file, name });
      const { digest } = await build(undisturbed.workspace, name);
      // However far the killed one came, the same command makes no second version.
      expect({ doingBoth, image }).toMatchObject({ doingBoth, image: { digest, version: 1, models: [`${name}:1`] } });
      expect((await client.headManifest(name, '1'))?.digest).toBe(digest);
    }
    console.log(
      `killed at ${killed.registering} of ${whileRegistering.length}, ${killed.building} of ${whileBuilding.length} and ${killed.doingBoth} of ${whileDoingBoth.length} calls`,
    );
    // A call that comes later in an undisturbed run may not come at all in another; most do.
    expect(killed.registering).toBeGreaterThan(whileRegistering.length / 2);
    expect(killed.building).toBeGreaterThan(whileBuilding.length / 2);
    expect(killed.doingBoth).toBeGreaterThan(whileDoingBoth.length / 2);
    await expectWholeBlobs(rig.workspace.layoutFolder);
    await expectWholeBlobs(registry.layoutDir);
    expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
  },
);

function chosen(all: readonly CallPoint[], random: Random): readonly CallPoint[] {
  if (points === 'all') return all;
  return Array.from({ length: Number(points) }, () => all[random.below(all.length)]).filter((one) => one !== undefined);
}

/** Writes a model of new weights. */
function writeModel(file: string, random: Random): Promise<void> {
  const weights = Buffer.alloc(modelBytes, random.bytes(64));
  const tensor = message([1, modelBytes], [2, 2], [8, 'weights'], [9, weights]);
  return writeFile(file, message([1, 8], [8, message([2, 13])], [7, message(...identityGraph, [5, tensor])]));
}

async function build(workspace: Workspace, name: string, version = 1): Promise<Image> {
  return (await createImage(workspace, { models: [{ name, version }] })).image;
}

async function expectWholeBlobs(layoutFolder: string): Promise<void> {
  const folder = join(layoutFolder, 'blobs', 'sha256');
  for (const name of await readdir(folder)) expect(digestOf(await readFile(join(folder, name)))).toBe(`sha256:${name}`);
}
