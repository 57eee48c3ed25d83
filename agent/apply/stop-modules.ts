import type { ContainerState } from '../../shared/containers/engine.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { ApplyContext } from './executors.ts';

/** How long all modules together may take to end when the agent ends, in milliseconds; the agent itself has 10 s. */
const graceMs = 7_000;

/** Ends all modules that run, at the same time. What fails to end is logged and left. */
export async function stopModules(
  containers: readonly ContainerState[],
  { engine, watch, log }: Pick<ApplyContext, 'engine' | 'watch'> & { readonly log: Logger },
): Promise<void> {
  const running = containers.filter(({ status }) => status === 'running');
  await Promise.all(
    running.map(async ({ name }) => {
      try {
        await engine.stop(name, { graceMs });
        watch.noteStopped(name);
      } catch (error) {
        log.error({ module: name, why: messageOf(error) }, 'could not stop the module');
      }
    }),
  );
  await watch.save();
}
