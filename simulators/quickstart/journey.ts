import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { accuracyOf, modelFile, readHeldOutRows } from './digits.ts';
import { freePort } from './free-port.ts';
import { isReady, percentile, scoreByAzureMl, scoreByOpenInference } from './scoring-client.ts';
import type { Stage } from './stage.ts';
import type { Summary } from './summary.ts';

const deviceId = 'gateway-1';
const serviceName = 'digits';
/** The longest that the device may take from its start to a healthy service, in milliseconds. */
const healthyTimeoutMs = 90_000;
/** The longest that the last collected row may take to its blob, in milliseconds. */
const uploadTimeoutMs = 60_000;

/** The settings of {@link runJourney}. */
export interface JourneyOptions {
  /** What runs the module on the device; `auto` takes Docker where an engine answers. */
  readonly engine: 'auto' | 'docker' | 'process';
}

/**
 * The product's main job on a real model and real rows, every step through the public command line and public protocols.
 * @throws {FerryError} of the first step that fails, or STEP_FAILED when a result is not what it has to be
 */
export async function runJourney(stage: Stage, options: JourneyOptions): Promise<Summary> {
  const startMs = performance.now();
  const world = await bringUp(stage);
  const model = await registerModel(stage);
  const image = await createImage(stage);
  const { port, deployment } = await deploy(stage);
  const edge = await runAgent(stage, { deployment, engine: options.engine });
  const scored = await score(stage, port);
  const collected = await collect(stage, scored.requests);
  return {
    model: `${model.id} ${model.digest}`,
    image: `${image.id} ${image.reference}`,
    bytes: { model: model.sizeBytes, built: image.bytesBuilt, pushed: image.push.bytesPushed },
    device: `${deviceId} (${edge.engine})`,
    service: `${serviceName}: ${edge.state}`,
    address: `http://127.0.0.1:${port}`,
    deployment: edge.counts,
    accuracy: scored.accuracy,
    latencyMs: { p50: percentile(scored.latenciesMs, 0.5), p99: percentile(scored.latenciesMs, 0.99) },
    rows: collected,
    blobs: `${world.storage.blobEndpoint}/${world.storage.container}`,
    seconds: (performance.now() - startMs) / 1000,
  };
}

const worldSchema = z.object({
  registry: z.string(),
  hub: z.object({ hostName: z.string() }),
  storage: z.object({ blobEndpoint: z.string(), container: z.string() }),
  caFile: z.string(),
});

function bringUp(stage: Stage): Promise<z.infer<typeof worldSchema>> {
  return stage.step('Bring the local world up', async () => {
    const up = stage.start('up', ['up', '--json']);
    const value = await stage.until('bring the local world up', 60_000, async () => {
      const output = await up.output();
      return output.endsWith('}\n') ? readAs(worldSchema, JSON.parse(output)) : undefined;
    });
    return {
      value,
      did: [
        `OCI registry  ${value.registry}`,
        `IoT Hub       ${value.hub.hostName} (simulator: MQTT and REST over TLS)`,
        `storage       ${value.storage.blobEndpoint} (Azurite)`,
      ],
    };
  });
}

const modelSchema = z.object({
  id: z.string(),
  digest: z.string(),
  sizeBytes: z.number(),
  signature: z.object({ inputs: z.array(tensorSchema()), outputs: z.array(tensorSchema()) }),
});

function registerModel(stage: Stage): Promise<z.infer<typeof modelSchema>> {
  return stage.step('Register the model', async () => {
    await copyFile(modelFile, join(stage.folder, 'digits-mlp.onnx'));
    const args = [
      'model',
      'register',
      'digits-mlp.onnx',
      '--name',
      'digits',
      '--tag',
      'area=vision',
      '--tag',
      'data=uci-digits',
    ];
    const value = readAs(modelSchema, await stage.ferry(args));
    return {
      value,
      did: [
        `${value.id}  ${value.digest}  ${value.sizeBytes} bytes`,
        `takes ${value.signature.inputs.map(tensorText).join(', ')}`,
        `gives ${value.signature.outputs.map(tensorText).join(', ')}`,
      ],
    };
  });
}

const imageSchema = z.object({
  id: z.string(),
  digest: z.string(),
  reference: z.string(),
  platform: z.string(),
  bytesBuilt: z.number(),
  push: z.object({ bytesPushed: z.number(), bytesPresent: z.number() }),
  layers: z.array(z.object({ kind: z.string(), sizeBytes: z.number() })),
});

function createImage(stage: Stage): Promise<z.infer<typeof imageSchema>> {
  return stage.step('Build the scoring image, without a Docker daemon', async () => {
    const value = readAs(
      imageSchema,
      await stage.ferry(['image', 'create', '--name', 'digits', '--model', 'digits:1']),
    );
    const layers = value.layers.map(({ kind, sizeBytes }) => `${kind} ${sizeBytes}`).join(', ');
    const { bytesPushed, bytesPresent } = value.push;
    return {
      value,
      did: [
        `${value.id} for ${value.platform}  ${value.reference}`,
        `layers in bytes: ${layers}`,
        `built ${value.bytesBuilt} bytes, pushed ${bytesPushed}; the registry has ${bytesPresent} as the workspace's own`,
      ],
    };
  });
}

const serviceSchema = z.object({
  deployment: z.object({ id: z.string() }),
  settings: z.object({ deviceTags: z.record(z.string(), z.string()) }),
});

function deploy(stage: Stage): Promise<{ port: number; deployment: string }> {
  return stage.step('Add a device and deploy to it', async () => {
    const port = await freePort();
    const secret = ['--connection-string-file', 'device.txt'];
    await stage.ferry(['edge', 'device', 'add', deviceId, '--tag', 'site=lab', ...secret]);
    const target = ['--target', 'iotedge', '--device-tag', 'site=lab', '--port', String(port), '--collect'];
    const service = readAs(
      serviceSchema,
      await stage.ferry(['service', 'create', serviceName, '--image', 'digits:1', ...target]),
    );
    const { id } = service.deployment;
    const tags = Object.entries(service.settings.deviceTags).map(([key, value]) => `${key}=${value}`);
    return {
      value: { port, deployment: id },
      did: [`IoT Edge deployment ${id} for devices with ${tags.join(', ')}`],
    };
  });
}

const shownServiceSchema = z.object({ state: z.string() });
const countsSchema = z.object({
  targetedCount: z.number(),
  appliedCount: z.number(),
  reportedSuccessfulCount: z.number(),
  reportedFailedCount: z.number(),
});
const shownDeploymentSchema = z.object({ systemMetrics: countsSchema });

interface EdgeState {
  readonly engine: string;
  readonly state: string;
  readonly counts: z.infer<typeof countsSchema>;
}

function runAgent(stage: Stage, options: { readonly deployment: string; readonly engine: string }): Promise<EdgeState> {
  return stage.step('Run the agent on the device, until the hub counts the deployment as successful', async () => {
    const place = [
      '--connection-string-file',
      'device.txt',
      '--state',
      'agent',
      '--ca',
      '.ferry/world/certificates/ca.pem',
    ];
    const settings = ['--engine', options.engine, '--upload-every', '1', '--log-format', 'json'];
    stage.cleanBy(['agent', 'reset', '--state', 'agent']);
    const agent = stage.start('agent', ['agent', 'run', ...place, ...settings]);
    const engine = await stage.until('start the agent', 30_000, async () => engineInLog(await agent.log()));
    const shown = readAs(
      shownServiceSchema,
      await stage.ferry(['service', 'show', serviceName, '--wait', '--timeout', String(healthyTimeoutMs / 1000)]),
    );
    const counts = await stage.until('see the deployment counted as successful', 20_000, async () => {
      const { systemMetrics } = readAs(
        shownDeploymentSchema,
        await stage.ferryQuietly(['edge', 'deployment', 'show', options.deployment]),
      );
      return systemMetrics.reportedSuccessfulCount === 1 ? systemMetrics : undefined;
    });
    return {
      value: { engine, state: shown.state, counts },
      did: [
        engine === 'docker' ? 'as a container: a Docker engine answers' : 'as a supervised process',
        `deployment: targeted ${counts.targetedCount}, applied ${counts.appliedCount}, successful ${counts.reportedSuccessfulCount}`,
      ],
    };
  });
}

interface Scored {
  readonly accuracy: number;
  readonly requests: number;
  readonly latenciesMs: readonly number[];
}

function score(stage: Stage, port: number): Promise<Scored> {
  return stage.step('Score the 360 held-out rows, twice', async () => {
    const rows = await readHeldOutRows();
    const address = `http://127.0.0.1:${port}`;
    await stage.until('see the scoring server ready', 30_000, () => isReady(address, stage.signal));
    const azureMl = await scoreByAzureMl(address, rows, stage.signal);
    const openInference = await scoreByOpenInference(address, serviceName, rows, stage.signal);
    const accuracy = accuracyOf(azureMl.labels, rows.label);
    const second = accuracyOf(openInference.labels, rows.label);
    if (accuracy !== second || !sameLabels(azureMl.labels, openInference.labels)) {
      throw new FerryError(
        'STEP_FAILED',
        `Cannot trust the scores: /score gave ${accuracy}, /v2 gave ${second}, the same was wanted`,
      );
    }
    return {
      value: {
        accuracy,
        requests: azureMl.latenciesMs.length + openInference.latenciesMs.length,
        latenciesMs: [...azureMl.latenciesMs, ...openInference.latenciesMs],
      },
      did: [
        `POST ${address}/score: accuracy ${accuracy.toFixed(4)}`,
        `POST ${address}/v2/models/${serviceName}/infer: accuracy ${second.toFixed(4)}`,
      ],
    };
  });
}

const listedSchema = z.object({ blobs: z.array(z.object({ rows: z.number().nullable() })) });
const pulledSchema = z.object({
  inputs: z.number(),
  predictions: z.number(),
  joined: z.number(),
  missing: z.number(),
  doubled: z.number(),
  blobs: z.number(),
});

function collect(stage: Stage, requests: number): Promise<z.infer<typeof pulledSchema>> {
  return stage.step('Read back what was collected, from the storage account', async () => {
    await stage.until('see every collected row in the storage account', uploadTimeoutMs, async () => {
      const { blobs } = readAs(listedSchema, await stage.ferryQuietly(['data', 'list', '--service', serviceName]));
      return blobs.reduce((sum, { rows }) => sum + (rows ?? 0), 0) >= 2 * requests ? true : undefined;
    });
    const value = readAs(
      pulledSchema,
      await stage.ferry(['data', 'pull', '--service', serviceName, '--out', 'rows.csv']),
    );
    const { inputs, predictions, joined, missing, doubled, blobs } = value;
    const did = `${inputs} inputs and ${predictions} predictions in ${blobs} blobs, ${joined} joined, ${missing} missing, ${doubled} doubled`;
    if (inputs !== requests || predictions !== requests || joined !== requests || missing + doubled > 0) {
      throw new FerryError('STEP_FAILED', `Cannot account for every row: ${did}, ${requests} of each was wanted`);
    }
    return { value, did: [did] };
  });
}

/** Reads a command's result: what of it the journey goes on with. */
function readAs<T>(schema: z.ZodType<T>, result: unknown): T {
  const { success, data, error } = schema.safeParse(result);
  if (success) return data;
  throw new FerryError('STEP_FAILED', `Cannot go on: the result is not as it should be: ${z.prettifyError(error)}`);
}

function engineInLog(log: string): string | undefined {
  return /"engine":"(docker|process)"/.exec(log)?.[1];
}

function tensorSchema() {
  return z.object({ name: z.string(), type: z.string(), shape: z.array(z.union([z.number(), z.string()])) });
}

function tensorText(tensor: z.infer<ReturnType<typeof tensorSchema>>): string {
  return `${tensor.name} ${tensor.type}[${tensor.shape.join(', ')}]`;
}

function sameLabels(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((label, index) => label === other[index]);
}
