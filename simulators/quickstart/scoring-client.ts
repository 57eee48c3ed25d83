import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import type { HeldOutRows } from './digits.ts';

/** The longest that one row may take, in milliseconds. */
const requestTimeoutMs = 10_000;

/** What scoring a set of rows gave, in the order of the rows. */
export interface Scores {
  readonly labels: readonly number[];
  readonly latenciesMs: readonly number[];
}

const azureMlAnswer = z.object({ label: z.tuple([z.int()]) });
const openInferenceAnswer = z.object({
  outputs: z.array(z.object({ name: z.string(), data: z.array(z.number()) })),
});

/** Scores each row by a request of its own by Azure ML's contract: `POST /score`. */
export function scoreByAzureMl(address: string, rows: HeldOutRows, signal: AbortSignal): Promise<Scores> {
  return scoreEach(rows, async (pixels) => {
    const answer = await post(`${address}/score`, { pixels: [pixels] }, signal);
    return azureMlAnswer.parse(answer).label[0];
  });
}

/** Scores each row by a request of its own by the Open Inference Protocol: `POST /v2/models/{model}/infer`. */
export function scoreByOpenInference(
  address: string,
  model: string,
  rows: HeldOutRows,
  signal: AbortSignal,
): Promise<Scores> {
  return scoreEach(rows, async (pixels) => {
    const inputs = [{ name: 'pixels', datatype: 'FP32', shape: [1, pixels.length], data: pixels }];
    const { outputs } = openInferenceAnswer.parse(
      await post(`${address}/v2/models/${model}/infer`, { inputs }, signal),
    );
    const label = outputs.find(({ name }) => name === 'label')?.data[0];
    if (label === undefined) throw new FerryError('SCORING_FAILED', 'Cannot score: the answer has no output "label"');
    return label;
  });
}

/** Asks whether the server takes requests; nothing where it does not yet. */
export async function isReady(address: string, signal: AbortSignal): Promise<true | undefined> {
  try {
    const timed = AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]);
    const { ok } = await fetch(`${address}/v2/health/ready`, { signal: timed });
    return ok ? true : undefined;
  } catch {
    return undefined;
  }
}

/** Gives the value that the given share of the values is not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.ceil(share * sorted.length), sorted.length) - 1] ?? Number.NaN;
}

async function scoreEach(rows: HeldOutRows, score: (pixels: number[]) => Promise<number>): Promise<Scores> {
  const labels: number[] = [];
  const latenciesMs: number[] = [];
  for (const pixels of rows.pixels) {
    const startMs = performance.now();
    labels.push(await score(pixels));
    latenciesMs.push(performance.now() - startMs);
  }
  return { labels, latenciesMs };
}

async function post(url: string, body: object, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
  });
  if (!response.ok) {
    throw new FerryError(
      'SCORING_FAILED',
      `Cannot score at ${url}: the answer is ${response.status} ${await response.text()}`,
    );
  }
  return response.json();
}
