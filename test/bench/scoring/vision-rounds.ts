import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary-folder.ts';
import { type BareRuns, bareSessions } from './bare-sessions.ts';
import { makeImageRoot, visionPath } from './image-root.ts';
import { startServer } from './perceptron-rounds.ts';
import { type Load, putLoad } from './wrk.ts';

/** What one round has shown. */
export interface VisionRound {
  readonly binary: Load;
  readonly json: Load;
  /** Binary, at one connection. */
  readonly alone: Load;
  /** `session.run` on all cores, one session each. */
  readonly bare: BareRuns;
  /** One session on one thread. */
  readonly bareAlone: BareRuns;
}

const shape = [1, 3, 224, 224];
const elements = 3 * 224 * 224;

/** Measures a server of a model of SqueezeNet's size against the model alone, by turns: 8 connections. */
export async function visionRounds(rounds: number, seconds: number): Promise<VisionRound[]> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  await makeImageRoot(folder.path, 'vision');
  const path = join(folder.path, visionPath);
  const of = { input: 'image', shape };
  const bare = cleanup.use(await bareSessions(path, { ...of, threads: availableParallelism() }));
  const bareAlone = cleanup.use(await bareSessions(path, { ...of, threads: 1 }));
  const server = cleanup.use(await startServer(folder.path));
  const url = `${server.url}/v2/models/vision/infer`;
  const values = Float32Array.from({ length: elements }, (_, index) => Math.sin(index));
  const binary = { url, ...(await binaryRequest(folder.path, values)) };
  const json = { url, ...(await jsonRequest(folder.path, values)) };
  await putLoad({ ...binary, connections: 8, seconds });
  await putLoad({ ...json, connections: 8, seconds });
  const measured: VisionRound[] = [];
  for (let round = 0; round < rounds; round += 1) {
    measured.push({
      binary: await putLoad({ ...binary, connections: 8, seconds }),
      bare: await bare.run(seconds * 1000),
      json: await putLoad({ ...json, connections: 8, seconds }),
      alone: await putLoad({ ...binary, connections: 1, seconds }),
      bareAlone: await bareAlone.run(seconds * 1000),
    });
  }
  return measured;
}

interface Written {
  readonly bodyFile: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function binaryRequest(folder: string, values: Float32Array): Promise<Written> {
  const parameters = { binary_data_size: values.byteLength };
  const header = Buffer.from(
    JSON.stringify({
      inputs: [{ name: 'image', datatype: 'FP32', shape, parameters }],
      parameters: { binary_data_output: true },
    }),
  );
  const bodyFile = join(folder, 'image.bin');
  await writeFile(bodyFile, Buffer.concat([header, new Uint8Array(values.buffer)]));
  return { bodyFile, headers: { 'Inference-Header-Content-Length': String(header.byteLength) } };
}

async function jsonRequest(folder: string, values: Float32Array): Promise<Written> {
  // As a client prints float32: the fewest digits that are the same value.
  const data = Array.from(values, (value) => Number(value.toPrecision(8)));
  const bodyFile = join(folder, 'image.json');
  await writeFile(bodyFile, JSON.stringify({ inputs: [{ name: 'image', datatype: 'FP32', shape, data }] }));
  return { bodyFile, headers: { 'content-type': 'application/json' } };
}
