import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dockerAnswers } from '../docker.ts';
import { runFerry } from '../ferry.ts';
import type { Bench, Measure } from './measure.ts';

/** The whole quickstart, from its first command to nothing left running; container and process by turns. */
export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  const seconds = async (engine: string): Promise<number> => {
    const startMs = performance.now();
    const { code, stderr } = await runFerry(['quickstart', '--engine', engine], { cwd: folder });
    if (code !== 0) throw new Error(`the quickstart failed: ${stderr}`);
    return (performance.now() - startMs) / 1000;
  };
  const measureOf = (engine: string): Measure => ({
    figure: `quickstart with the ${engine} engine`,
    unit: 's',
    sample: () => seconds(engine),
    bar: { atMost: 30 },
    rounds: 3,
  });
  return {
    measures: dockerAnswers ? [measureOf('process'), measureOf('docker')] : [measureOf('process')],
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
