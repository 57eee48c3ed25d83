import type { Clock } from '../../shared/clock.ts';
import type { ContainerEngine } from '../../shared/containers/engine.ts';
import type { Digest } from '../../shared/digest.ts';
import type { DesiredState } from '../desired-state.ts';
import { credentialFor } from './credential-for.ts';
import type { EnsureOptions, ImageStore } from './image-store.ts';
import type { ImageUsage } from './image-usage.ts';

/** What takes part when an image is staged. */
export interface StagingParts {
  readonly images: ImageStore;
  readonly engine: ContainerEngine;
  readonly usage: ImageUsage;
  readonly clock: Clock;
}

/** Gives what gets an image of a desired state onto the device and ready to run, and gives its digest. */
export function imageStaging({ images, engine, usage, clock }: StagingParts) {
  return async (desired: DesiredState, image: string, signal: AbortSignal): Promise<Digest> => {
    const digest = await images.ensure(image, ensureOptions(desired, image, signal));
    await engine.prepareImage(digest, signal);
    await usage.note([digest], clock.nowMs());
    return digest;
  };
}

function ensureOptions(desired: DesiredState, image: string, signal: AbortSignal): EnsureOptions {
  const uses = desired.modules.filter((module) => module.image === image);
  const credential = credentialFor(image, desired.manifest.runtime.settings.registryCredentials ?? {});
  return {
    pullPolicy: uses.every(({ imagePullPolicy }) => imagePullPolicy === 'never') ? 'never' : 'on-create',
    ...(credential === undefined ? {} : { credential }),
    signal,
  };
}
