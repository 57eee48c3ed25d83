import type { Bench } from './measure.ts';
import { LocalServices, type Pair } from './services/local-services.ts';
import { SimulatedServices } from './services/simulated-services.ts';

const requestsPerSecond = 200;
/** How the port of a service with two replicas hands them what there is to do. */
const told: Readonly<Record<Pair, string>> = {
  limited: 'requests, to a quarter of a processor each',
  heavy: 'requests, a model of milliseconds',
  connections: 'connections',
  requests: 'requests',
};

/**
 * Services: how soon one is there on each target, what an update costs its callers, and what the port before the replicas of this machine
 * costs. The simulated targets need root, for port 80 of a load balancer.
 */
export async function openBench(): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const bench = stack.use(await LocalServices.open());
  const simulated = stack.use(await SimulatedServices.open());
  const keep = stack.move();
  const balanced = (service: Pair, rows: number, atLeast: number) => ({
    figure: `two replicas behind one port (${told[service]}), ${rows} rows a request`,
    unit: 'req/s',
    sample: async () => bench.balancedLoad(service, rows),
    reference: {
      name: 'both replicas at once, each by a client of its own',
      sample: async () => bench.directLoad(service, rows),
    },
    bar: { atLeast },
    rounds: 9,
  });
  return {
    measures: [
      {
        figure: 'ferry push, a new model of 1 MB, to Healthy',
        unit: 's',
        sample: async () => bench.push('fresh'),
        bar: { atMost: 3 },
      },
      { figure: 'the same again', unit: 's', sample: async () => bench.pushAgain(), bar: { atMost: 2 } },
      {
        figure: `failed requests of ${requestsPerSecond}/s while a model is pushed`,
        unit: '',
        sample: async () => bench.failuresOfUpdate(requestsPerSecond),
        bar: { atMost: 0 },
        rounds: 3,
      },
      ...(['aci', 'aks/sim'] as const).flatMap((target) => [
        {
          figure: `ferry push, a new service of a new model of 1 MB, to Healthy on simulated ${target}`,
          unit: 's',
          sample: async () => simulated.pushNew(target),
          bar: { atMost: 5 },
        },
        {
          figure: `the same again on simulated ${target}`,
          unit: 's',
          sample: async () => simulated.pushAgain(target),
          bar: { atMost: 2 },
        },
      ]),
      balanced('limited', 1, 0.9),
      balanced('limited', 32, 0.9),
      balanced('heavy', 1, 0.9),
      balanced('connections', 1, 0.9),
      balanced('connections', 32, 0.9),
      // Each request goes through one process more, on two cores that are busy already.
      balanced('requests', 32, 0.7),
    ],
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}
