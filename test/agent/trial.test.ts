import { expect, test } from 'vitest';
import { type DesiredState, readDesired } from '../../agent/desired-state.ts';
import { Generations } from '../../agent/generations.ts';
import { memoryFiles } from '../../agent/light/memory-files.ts';
import type { ObservedModule } from '../../agent/plan.ts';
import { Trial } from '../../agent/trial.ts';
import { systemClock } from '../../shared/clock.ts';
import type { ContainerEngine } from '../../shared/containers/engine.ts';
import { edgeAgentDesired } from '../../shared/edge/build-manifest.ts';
import { createLogger } from '../../shared/log.ts';

test('Trial takes nothing that runs of the desired state before for what the newer one is to run', async () => {
  const generations = await Generations.open('/desired.json', 'gate', memoryFiles());
  const trial = new Trial({
    engine: {} as ContainerEngine,
    generations,
    askProof: async () => ({ kind: 'silent' }),
    askRequests: async () => undefined,
    clock: systemClock,
    log: createLogger('trial', { level: 'silent' }),
  });
  const putInForce = async (image: string): Promise<DesiredState> => {
    const properties = edgeAgentDesired({ modules: { digits: { image } } });
    const reading = readDesired(properties);
    if (reading.code !== 200) throw new Error(reading.description);
    await generations.take(reading.state, properties);
    trial.begin({ isOnProbation: true });
    return reading.state;
  };
  const before = await putInForce('a:1');
  const runs = running(before);
  expect(await trial.look(before, runs)).toEqual({ kind: 'holding' });
  const newer = await putInForce('a:2');
  // The look at what ran before was under way when the newer one came.
  expect(await trial.look(before, runs)).toEqual({ kind: 'superseded' });
  expect(await trial.look(newer, runs)).toEqual({ kind: 'starting' });
  expect(await trial.look(newer, running(newer))).toEqual({ kind: 'holding' });
});

function running({ modules }: DesiredState): ReadonlyMap<string, ObservedModule> {
  return new Map(
    modules.map(({ name, fingerprint }) => [name, { fingerprint, status: 'running', exitCode: 0, restartCount: 0 }]),
  );
}
