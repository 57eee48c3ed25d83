import { drainMeasure } from './collect/drain.ts';
import { bufferMeasure, handOverMeasure } from './collect/into-buffer.ts';
import { scoringMeasure } from './collect/while-scoring.ts';
import type { Bench } from './measure.ts';

/** Collecting: what it costs to hand rows over, to make them durable, to send them, and what scoring has left beside it. */
export async function openBench(): Promise<Bench> {
  await using cleanup = new AsyncDisposableStack();
  const drain = cleanup.use(await drainMeasure());
  const scoring = cleanup.use(await scoringMeasure());
  const disposal = cleanup.move();
  return {
    measures: [handOverMeasure(), bufferMeasure(), drain.measure, scoring.measure],
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}
