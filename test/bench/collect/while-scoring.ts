import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ServiceConfig, serviceConfigPath } from '../../../shared/model/service-config.ts';
import { digitsSignature, readDigits, scoringEntry } from '../../agent/scoring/scoring-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import type { Measure } from '../measure.ts';
import { digitsFile } from '../scoring/image-root.ts';
import { MeasuredProcess } from '../scoring/measured-process.ts';
import { putLoad } from '../scoring/wrk.ts';

const seconds = 3;

/** Requests a second of the scoring server, with inputs and predictions collected, beside without. */
export async function scoringMeasure(): Promise<{ readonly measure: Measure } & AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const data = cleanup.use(await temporaryFolder());
  await makeRoot(folder.path);
  const bodyFile = join(folder.path, 'row.json');
  await writeFile(bodyFile, JSON.stringify({ pixels: (await readDigits()).pixels.slice(0, 1) }));
  const start = (environment: NodeJS.ProcessEnv): Promise<MeasuredProcess> =>
    MeasuredProcess.start({
      command: process.execPath,
      args: () => [fileURLToPath(scoringEntry)],
      environment: (port) => ({
        NODE_ENV: 'production',
        MODELFERRY_ROOT: folder.path,
        MODELFERRY_HOST: '127.0.0.1',
        MODELFERRY_PORT: String(port),
        MODELFERRY_LOG_LEVEL: 'warn',
        ...environment,
      }),
      path: '/v2/health/ready',
    });
  const without = cleanup.use(await start({}));
  const collecting = cleanup.use(await start({ AML_MODEL_DC_STORAGE_ENABLED: 'true', MODELFERRY_DATA_DIR: data.path }));
  const load = async ({ url }: MeasuredProcess): Promise<number> => {
    const request = { url: `${url}/score`, bodyFile, headers: { 'content-type': 'application/json' } };
    return (await putLoad({ ...request, connections: 16, seconds })).requestsPerSecond;
  };
  // What compiles while it runs has done so before it is measured.
  for (const warm of [without, collecting]) await load(warm);
  const disposal = cleanup.move();
  return {
    measure: {
      figure: 'perceptron, JSON rows at 16 connections, collection on',
      unit: 'req/s',
      sample: () => load(collecting),
      reference: { name: 'collection off', sample: () => load(without) },
      bar: { atLeast: 0.85 },
      // One round is within a tenth of the next: who of client, server and disk shares a core with whom is chance.
      rounds: 11,
    },
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}

/** Makes a folder with the perceptron and what an image says of it. */
async function makeRoot(root: string): Promise<void> {
  const path = '/models/digits/digits-mlp.onnx';
  const config: ServiceConfig = {
    schemaVersion: 1,
    models: [{ name: 'digits', version: 1, format: 'onnx', path, signature: digitsSignature }],
  };
  await mkdir(join(root, 'models/digits'), { recursive: true });
  await copyFile(digitsFile, join(root, path));
  await mkdir(join(root, 'app'));
  await writeFile(join(root, serviceConfigPath), JSON.stringify(config));
}
