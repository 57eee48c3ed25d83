import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';

// What the server is compared with: `session.run` in a loop, on as many threads as are asked for, and nothing else. It is told a
// time in milliseconds and answers with the runs a second of all threads, and the median of one run.

const [path = '', input = '', shapeText = '', threadsText = '1'] = process.argv.slice(2);

interface Runs {
  readonly perSecond: number;
  readonly medianMs: number;
}

async function runFor(session: InferenceSession, feeds: Record<string, Tensor>, ms: number): Promise<Runs> {
  const times: number[] = [];
  const startMs = performance.now();
  for (let nowMs = startMs; nowMs < startMs + ms;) {
    await session.run(feeds);
    const endMs = performance.now();
    times.push(endMs - nowMs);
    nowMs = endMs;
  }
  const medianMs = times.toSorted((left, right) => left - right)[Math.floor(times.length / 2)] ?? 0;
  return { perSecond: (times.length / (performance.now() - startMs)) * 1000, medianMs };
}

async function work(
  port: NonNullable<typeof parentPort>,
  of: { path: string; input: string; shape: number[] },
): Promise<void> {
  const session = await InferenceSession.create(of.path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const data = new Float32Array(of.shape.reduce((product, size) => product * size, 1)).fill(0.5);
  const feeds = { [of.input]: new Tensor('float32', data, of.shape) };
  await runFor(session, feeds, 200);
  port.on('message', (ms: number) => void runFor(session, feeds, ms).then((runs) => port.postMessage(runs)));
  port.postMessage('ready');
}

async function direct(): Promise<void> {
  const shape = shapeText.split(',').map(Number);
  const workers = Array.from(
    { length: Number(threadsText) },
    () => new Worker(new URL(import.meta.url), { workerData: { path, input, shape } }),
  );
  await Promise.all(workers.map(next));
  const runAll = async (ms: number): Promise<Runs> => {
    for (const worker of workers) worker.postMessage(ms, []);
    const runs = (await Promise.all(workers.map(next))) as Runs[];
    return { perSecond: runs.reduce((sum, own) => sum + own.perSecond, 0), medianMs: runs[0]?.medianMs ?? 0 };
  };
  process.on('message', (ms: number) => void runAll(ms).then((runs) => process.send?.(runs)));
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
}

function next(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

if (isMainThread) await direct();
else if (parentPort !== null) await work(parentPort, workerData as { path: string; input: string; shape: number[] });
