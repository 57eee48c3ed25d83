import type { Digest } from '../../shared/digest.ts';
import type { DesiredState } from '../desired-state.ts';
import { credentialFor } from './credential-for.ts';
import { type ClearImagesOptions, makeRoom, noteUse } from './clear-images.ts';
import type { EnsureOptions } from './image-store.ts';

/** Gives what gets an image of a desired state onto the device and ready to run, and gives its digest. */
export function imageStaging(parts: ClearImagesOptions) {
  const { images, engine, usage, clock } = parts;
  return async (desired: DesiredState, image: string, signal: AbortSignal): Promise<Digest> => {
    // What runs now is what a deployment on probation goes back to.
    await noteUse(parts);
    const digest = await images.ensure(image, {
      ...ensureOptions(desired, image, signal),
      makeRoom: (isEnough) => makeRoom(parts, isEnough),
    });
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
