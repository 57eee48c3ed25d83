import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ScoringServer } from '../../../agent/scoring/server.ts';
import { readSettings } from '../../../agent/scoring/settings.ts';
import { createLogger } from '../../../shared/log.ts';
import type { ServiceConfig } from '../../../shared/model/service-config.ts';
import type { Signature, TensorType } from '../../../shared/model/signature.ts';
import { identityModel, loopModel } from './made-models.ts';

/** The main module of the scoring server, which its threads start from. */
export const scoringEntry = new URL('../../../agent/scoring/main.ts', import.meta.url);

/** Folder of the digits models and rows. */
const digitsFolder = fileURLToPath(new URL('../../../simulators/quickstart/digits/', import.meta.url));

/** The signature that both digits models have. */
export const digitsSignature = {
  inputs: [{ name: 'pixels', type: 'float32', shape: ['batch', 64] }],
  outputs: [
    { name: 'label', type: 'int64', shape: ['batch'] },
    { name: 'probabilities', type: 'float32', shape: ['batch', 10] },
  ],
} satisfies ServiceConfig['models'][number]['signature'];

/** Version 1 is the perceptron, version 2 the logistic regression. */
const digitsModels = ['digits-mlp', 'digits-logistic'].map((file, index) => ({
  name: 'digits',
  version: index + 1,
  format: 'onnx' as const,
  path: `/models/digits/${file}.onnx`,
  signature: digitsSignature,
}));

const loop = {
  name: 'loop',
  version: 1,
  format: 'onnx' as const,
  path: '/models/loop.onnx',
  signature: {
    inputs: [{ name: 'n', type: 'int64' as const, shape: [] }],
    outputs: [{ name: 'y', type: 'float32' as const, shape: [1] }],
  },
};

/** A running server in a root folder of its own. */
export interface ScoringRig extends AsyncDisposable {
  readonly server: ScoringServer;
  readonly root: string;
  readonly url: string;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Posts a JSON document, or text as it is. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** What a rig serves, and with which environment. */
export interface ScoringRigOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Types for each of which a model `identity-<type>` is served, behind the digits. */
  readonly identities?: readonly { type: TensorType; shape: readonly (number | string)[]; heavy?: boolean }[];
  /** Models by name, behind the others, each with its file. */
  readonly more?: Readonly<Record<string, { readonly file: Uint8Array; readonly signature: Signature }>>;
  /** Serves the model `loop`, whose input `n` says how long it takes. */
  readonly loop?: boolean;
  /** Cuts the identities' files in half. */
  readonly broken?: boolean;
  /** The image's scoring script. */
  readonly script?: string;
  /** Only the models of these names. @default all */
  readonly only?: readonly string[];
}

/** Makes a root folder with the digits models and starts a server on it, on any free port. */
export async function startScoring(options: ScoringRigOptions = {}): Promise<ScoringRig> {
  const root = await mkdtemp(join(tmpdir(), 'ferry-scoring-'));
  await makeRoot(root, options);
  const environment = { MODELFERRY_PORT: '0', MODELFERRY_HOST: '127.0.0.1', ...options.environment };
  const settings = readSettings(root, environment);
  const log = createLogger('scoring', { level: 'silent' });
  const server = await ScoringServer.start({ settings, log, entry: scoringEntry });
  const url = `http://127.0.0.1:${server.port}`;
  return {
    server,
    root,
    url,
    fetch: (path, init) => fetch(url + path, init),
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body:
          typeof body === 'string' ? body : body instanceof Uint8Array ? Uint8Array.from(body) : JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Makes what an image has in its root. */
export async function makeRoot(root: string, options: ScoringRigOptions = {}): Promise<void> {
  await mkdir(join(root, 'models/digits'), { recursive: true });
  await mkdir(join(root, 'app'), { recursive: true });
  for (const file of ['digits-mlp.onnx', 'digits-logistic.onnx']) {
    await copyFile(join(digitsFolder, file), join(root, 'models/digits', file));
  }
  const identities = (options.identities ?? []).map(({ type, shape }) => ({
    name: `identity-${type}`,
    version: 1,
    format: 'onnx' as const,
    path: `/models/identity-${type}.onnx`,
    signature: {
      inputs: [{ name: 'x', type, shape: [...shape] }],
      outputs: [{ name: 'y', type, shape: [...shape] }],
    },
  }));
  for (const { type, shape, heavy } of options.identities ?? []) {
    const file = identityModel(type, shape, heavy);
    await writeFile(
      join(root, `models/identity-${type}.onnx`),
      options.broken === true ? file.subarray(0, file.length - 40) : file,
    );
  }
  if (options.loop === true) await writeFile(join(root, loop.path), loopModel());
  const more = [];
  for (const [name, { file, signature }] of Object.entries(options.more ?? {})) {
    const path = `/models/${name}.onnx`;
    await writeFile(join(root, path), file);
    more.push({ name, version: 1, format: 'onnx' as const, path, signature });
  }
  const models = [...digitsModels, ...identities, ...(options.loop === true ? [loop] : []), ...more].filter(
    ({ name }) => options.only?.includes(name) ?? true,
  );
  if (options.script !== undefined) await writeFile(join(root, 'app/score.mjs'), options.script);
  const config: ServiceConfig = { schemaVersion: 1, models };
  await writeFile(join(root, 'app/service.json'), JSON.stringify(config));
}

/** The held-out rows of the digits. */
export async function readDigits(): Promise<{ pixels: number[][]; label: number[] }> {
  return JSON.parse(await readFile(join(digitsFolder, 'digits-heldout.json'), 'utf8')) as {
    pixels: number[][];
    label: number[];
  };
}
