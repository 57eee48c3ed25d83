import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import type { Workspace } from '../../../cloud/workspace/workspace.ts';
import { digestOf } from '../../../shared/digest.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { runFerry } from '../../ferry.ts';
import { Random } from '../../random.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { killedFerry } from '../killed-ferry.ts';
import { identityGraph } from '../models/onnx-writer.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
/** How many models are registered, built and pushed, each with a kill on the way of both commands. */
const points = Number(process.env['REBUILD_KILL_POINTS'] ?? 4);
const modelBytes = 8_000_000;

test.runIf(process.platform === 'linux')(
  'register, build and push that are killed at any moment then succeed, with the digests of an undisturbed run',
  { timeout: 120_000 + points * 30_000 },
  async () => {
    console.log(`KILL_SEED=${seed} REBUILD_KILL_POINTS=${points}`);
    const random = new Random(seed);
    await using registry = await startRig();
    await using rig = await workspaceRig();
    await using undisturbed = await workspaceRig();
    await rig.workspace.setEndpoints({ registry: registry.registry.host }, {});
    const file = join(rig.folder, 'model.onnx');

    await writeModel(file, random);
    const registerMs = await timed(rig, ['model', 'register', file, '--name', 'first']);
    const createMs = await timed(rig, ['image', 'create', '--model', 'first:1']);
    const client = new RegistryClient(registry.registry.host);
    for (let point = 0; point < points; point += 1) {
      const name = `model-${point}`;
      await writeModel(file, random);
      await kill(rig, ['model', 'register', file, '--name', name], random.below(registerMs));
      await registerModel(rig.workspace, { path: file, name });
      await kill(rig, ['image', 'create', '--model', `${name}:1`], random.below(createMs));
      const digest = await build(rig.workspace, name);

      await registerModel(undisturbed.workspace, { path: file, name });
      expect(digest).toBe(await build(undisturbed.workspace, name));
      expect((await client.headManifest(name, '1'))?.digest).toBe(digest);
    }
    await expectWholeBlobs(rig.workspace.layoutFolder);
    await expectWholeBlobs(registry.layoutDir);
    expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
  },
);

/** Writes a model of new weights. */
function writeModel(file: string, random: Random): Promise<void> {
  const weights = Buffer.alloc(modelBytes, random.bytes(64));
  const tensor = message([1, modelBytes], [2, 2], [8, 'weights'], [9, weights]);
  return writeFile(file, message([1, 8], [8, message([2, 13])], [7, message(...identityGraph, [5, tensor])]));
}

function kill(rig: WorkspaceRig, args: readonly string[], delayMs: number): Promise<void> {
  return killedFerry(args, { cwd: rig.folder, delayMs });
}

/** Gives the digest of the image of the model's first version. */
async function build(workspace: Workspace, name: string): Promise<string> {
  return (await createImage(workspace, { models: [{ name, version: 1 }] })).image.digest;
}

/** Runs a command to its end, and gives how long it took: what a kill is to fall into. */
async function timed({ folder }: WorkspaceRig, args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  expect(await runFerry(args, { cwd: folder })).toMatchObject({ code: 0 });
  return Math.ceil(performance.now() - startMs);
}

async function expectWholeBlobs(layoutFolder: string): Promise<void> {
  const folder = join(layoutFolder, 'blobs', 'sha256');
  for (const name of await readdir(folder)) expect(digestOf(await readFile(join(folder, name)))).toBe(`sha256:${name}`);
}
