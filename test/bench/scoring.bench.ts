import type { Bench, Measure } from './measure.ts';
import { type PerceptronRound, perceptronRounds } from './scoring/perceptron-rounds.ts';
import { type VisionRound, visionRounds } from './scoring/vision-rounds.ts';

/** Servers on this machine alone. */
export const isOfNetwork = true;

const rounds = 5;
const seconds = 3;

/** The scoring server as it runs in an image. Every round measures all servers once, one after the other; load comes from `wrk`. */
export async function openBench(): Promise<Bench> {
  const perceptron = await perceptronRounds(rounds, seconds);
  const vision = await visionRounds(rounds, seconds);
  return {
    measures: [...perceptronMeasures(perceptron), ...visionMeasures(vision)],
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function perceptronMeasures(measured: readonly PerceptronRound[]): Measure[] {
  const of = (
    figure: string,
    pick: (round: PerceptronRound) => number,
  ): Pick<Measure, 'figure' | 'sample' | 'rounds'> => ({
    figure: `perceptron: ${figure}`,
    sample: replay(measured, pick),
    rounds,
  });
  const requests = of('JSON rows at 16 connections', ({ server }) => server.requestsPerSecond);
  return [
    {
      ...requests,
      unit: 'req/s',
      reference: { name: 'constant', sample: replay(measured, ({ constant }) => constant.requestsPerSecond) },
      bar: { atLeast: 0.6 },
    },
    {
      ...of('JSON rows at 16 connections', ({ server }) => server.requestsPerSecond),
      unit: 'req/s',
      reference: { name: 'Flask, gunicorn', sample: replay(measured, ({ flask }) => flask.requestsPerSecond) },
      bar: { atLeast: 12 },
    },
    { ...of('p50 at 16 connections', ({ server }) => server.p50Ms), unit: 'ms', bar: { atMost: 0.5 } },
    { ...of('p99 at 16 connections', ({ server }) => server.p99Ms), unit: 'ms', bar: { atMost: 3 } },
    { ...of('added at one connection', ({ alone, bareMs }) => alone.p50Ms - bareMs), unit: 'ms', bar: { atMost: 0.3 } },
    { ...of('start to ready', ({ readyMs }) => readyMs), unit: 'ms', bar: { atMost: 250 } },
    { ...of('memory when ready', ({ startedMb }) => startedMb), unit: 'MB', bar: { atMost: 130 } },
    { ...of('memory after load', ({ loadedMb }) => loadedMb), unit: 'MB', bar: { atMost: 130 } },
  ];
}

function visionMeasures(measured: readonly VisionRound[]): Measure[] {
  const bare = (): NonNullable<Measure['reference']> => ({
    name: 'session.run',
    sample: replay(measured, (round) => round.bare.perSecond),
  });
  return [
    {
      figure: 'vision: binary at 8 connections',
      unit: 'req/s',
      sample: replay(measured, ({ binary }) => binary.requestsPerSecond),
      reference: bare(),
      bar: { atLeast: 0.75 },
      rounds,
    },
    {
      figure: 'vision: JSON at 8 connections',
      unit: 'req/s',
      sample: replay(measured, ({ json }) => json.requestsPerSecond),
      reference: bare(),
      bar: { atLeast: 0.35 },
      rounds,
    },
    {
      figure: 'vision: added at one connection',
      unit: 'ms',
      sample: replay(measured, ({ alone, bareAlone }) => alone.p50Ms - bareAlone.medianMs),
      // Two copies of 600 KB, to the server and to its worker, are in it.
      bar: { atMost: 2 },
      rounds,
    },
  ];
}

/** Gives what was measured in each round, one after the other. */
function replay<Round>(measured: readonly Round[], pick: (round: Round) => number): Measure['sample'] {
  const values = measured.map(pick).values();
  return async () => values.next().value ?? Number.NaN;
}
