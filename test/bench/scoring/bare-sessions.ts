import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What `session.run` does without a server around it. */
export interface BareRuns {
  readonly perSecond: number;
  readonly medianMs: number;
}

/** A process that runs a model and does nothing else. */
interface BareSessions extends AsyncDisposable {
  /** Runs for so many milliseconds on all its threads. */
  run(ms: number): Promise<BareRuns>;
}

const program = fileURLToPath(new URL('bare-sessions-process.ts', import.meta.url));

/** Starts a process that runs a model on so many threads, each with a session of its own. */
export async function bareSessions(
  path: string,
  { input, shape, threads }: { readonly input: string; readonly shape: readonly number[]; readonly threads: number },
): Promise<BareSessions> {
  const child = fork(program, [path, input, shape.join(','), String(threads)]);
  await once(child, 'message');
  return {
    run: async (ms) => {
      child.send(ms);
      const [runs] = (await once(child, 'message')) as [BareRuns];
      return runs;
    },
    [Symbol.asyncDispose]: async () => {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
