import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serverPath } from '../../../cloud/images/engine-layer.ts';
import { readDigits } from '../../agent/scoring/scoring-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import type { Measure } from '../measure.ts';
import { makeImageRoot } from '../scoring/image-root.ts';
import { MeasuredProcess } from '../scoring/measured-process.ts';
import { putLoad } from '../scoring/wrk.ts';

const seconds = 3;

/** Requests a second of the scoring server as it runs in an image, with inputs and predictions collected, beside without. */
export async function scoringMeasure(): Promise<{ readonly measure: Measure } & AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const data = cleanup.use(await temporaryFolder());
  await makeImageRoot(folder.path, 'digits');
  const bodyFile = join(folder.path, 'row.json');
  await writeFile(bodyFile, JSON.stringify({ pixels: (await readDigits()).pixels.slice(0, 1) }));
  const start = (environment: NodeJS.ProcessEnv): Promise<MeasuredProcess> =>
    MeasuredProcess.start({
      command: process.execPath,
      args: () => [join(folder.path, serverPath)],
      environment: (port) => ({
        NODE_ENV: 'production',
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
    },
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}
