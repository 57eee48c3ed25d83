import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { Workspace } from '../../../cloud/workspace/workspace.ts';
import type { CreateOptions } from '../../../shared/edge/create-options.ts';
import { freePort } from '../../../simulators/quickstart/free-port.ts';
import { Rig } from '../../agent/rig.ts';
import { identityGraph } from '../../cloud/models/onnx-writer.ts';
import { CountingProxy } from '../../counting-proxy.ts';
import { until } from '../../until.ts';
import { MeasuredAgent } from './measured-agent.ts';

/** What an update of nothing but the model came to. */
export interface ModelUpdate {
  readonly modelBytes: number;
  /** From the request to the hub to the first answer of the new model. */
  readonly tookMs: number;
  /** On the wire to and from the registry, with all headers. */
  readonly registryBytes: number;
  /** On the wire to and from the hub, with TLS. */
  readonly hubBytes: number;
}

const weightBytes = 1_000_000;
const ferry = fileURLToPath(new URL('../../../dist/ferry.mjs', import.meta.url));

/** Updates a model of 1 MB on a device that has all the rest of its image, and scores with it. */
export async function measureModelUpdate(): Promise<ModelUpdate> {
  await using rig = await Rig.open();
  await using toRegistry = await CountingProxy.open(rig.registry.port);
  await using toHub = await CountingProxy.open(rig.hub.port);
  using workspace = await Workspace.create(rig.folder, { name: 'bench' });
  await workspace.setEndpoints({ registry: rig.registry.host }, {});
  const port = await freePort();
  let startedMs = 0;
  const deployVersion = async (version: number): Promise<void> => {
    const image = await buildImage(rig, version);
    const module = { image: `localhost:${toRegistry.port}/${image}`, createOptions: scoringOn(port) };
    startedMs = performance.now();
    await rig.deploy({ bench: module });
  };
  await using _agent = new MeasuredAgent({
    stateFolder: rig.stateFolder,
    caFile: rig.caFile,
    connectionString: `${rig.connectionString};GatewayHostName=localhost:${toHub.port}`,
  });
  await deployVersion(1);
  await scores(port, 1);
  const { lastDesiredVersion = 0 } = await settled(rig);
  const before = { registry: toRegistry.bytes, hub: toHub.bytes };
  await deployVersion(2);
  await scores(port, 2);
  const tookMs = performance.now() - startedMs;
  await rig.reported(lastDesiredVersion + 1, 200);
  return {
    modelBytes: (await stat(modelFile(rig))).size,
    tookMs,
    registryBytes: toRegistry.bytes - before.registry,
    hubBytes: toHub.bytes - before.hub,
  };
}

function settled(rig: Rig): ReturnType<Rig['reported']> {
  return rig.twin().then(({ properties }) => rig.reported(properties.desired.$version, 200, 30_000));
}

/** Registers a model of random weights and gives its image as `name@digest`. */
async function buildImage(rig: Rig, version: number): Promise<string> {
  const tensor = message([1, weightBytes], [2, 2], [8, 'weights'], [9, randomBytes(weightBytes)]);
  await writeFile(modelFile(rig), message([1, 8], [8, message([2, 13])], [7, message(...identityGraph, [5, tensor])]));
  await run(rig, 'model', 'register', modelFile(rig), '--name', 'small');
  const { digest } = JSON.parse(
    await run(rig, 'image', 'create', '--name', 'bench', '--model', `small:${version}`, '--json'),
  ) as { digest: string };
  return `bench@${digest}`;
}

async function run(rig: Rig, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [ferry, ...args], { cwd: rig.folder })).stdout;
}

function modelFile(rig: Rig): string {
  return join(rig.folder, 'model.onnx');
}

/** Waits until a version of the model answers. */
async function scores(port: number, version: number): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  await until(
    async () => {
      const { versions } = (await (await fetch(`${url}/v2/models/small`)).json()) as { versions: string[] };
      if (!versions.includes(String(version))) return false;
      const answer = await fetch(`${url}/score`, { method: 'POST', body: JSON.stringify({ x: [[version, 2]] }) });
      return answer.ok && (await answer.text()).includes(String(version));
    },
    { timeoutMs: 60_000, what: `version ${version} of the model scores` },
  );
}

function scoringOn(port: number): CreateOptions {
  const binding = [{ HostIp: '127.0.0.1', HostPort: String(port) }];
  return { ExposedPorts: { '5001/tcp': {} }, HostConfig: { PortBindings: { '5001/tcp': binding } } };
}
