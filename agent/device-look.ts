import type { Clock } from '../shared/clock.ts';
import type { ContainerState } from '../shared/containers/engine.ts';
import { fingerprintLabel, imageDigestLabel } from './labels.ts';
import type { ModuleWatch } from './module-watch.ts';
import type { ObservedModule } from './plan.ts';
import { rehearsingModule } from './rehearsal-spec.ts';

/** A container in which a module rehearses. */
export type ObservedRehearsal = ObservedModule & { readonly container: ContainerState };

/** What one look at the engine's containers tells. */
export interface Device {
  /** Those that are modules. */
  readonly containers: readonly ContainerState[];
  /** The modules, with what is remembered of them. */
  readonly observed: ReadonlyMap<string, ObservedModule>;
  /** What rehearses, by module. */
  readonly rehearsals: ReadonlyMap<string, ObservedRehearsal>;
}

/** Tells modules from rehearsals, and remembers of modules what one look does not tell. */
export function lookAtDevice(
  listed: readonly ContainerState[],
  { watch, clock }: { readonly watch: ModuleWatch; readonly clock: Clock },
): Device {
  const containers = listed.filter(({ name }) => rehearsingModule(name) === undefined);
  const rehearsals = new Map<string, ObservedRehearsal>();
  for (const container of listed) {
    const module = rehearsingModule(container.name);
    if (module !== undefined) rehearsals.set(module, observedRehearsal(container));
  }
  return { containers, observed: watch.observe(containers, clock.monotonicMs()), rehearsals };
}

function observedRehearsal(container: ContainerState): ObservedRehearsal {
  const { labels, status, exitCode } = container;
  const [fingerprint = '', imageDigest = ''] = [labels[fingerprintLabel], labels[imageDigestLabel]];
  return { fingerprint, imageDigest, status, exitCode, restartCount: 0, container };
}
