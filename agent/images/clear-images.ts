import type { Clock } from '../../shared/clock.ts';
import type { ContainerEngine } from '../../shared/containers/engine.ts';
import { type Digest, isDigest } from '../../shared/digest.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { madeFrom } from '../labels.ts';
import type { ImageStore } from './image-store.ts';
import type { ImageUsage } from './image-usage.ts';

/** The settings of {@link clearImages} and {@link clearImagesDaily}. */
export interface ClearImagesOptions {
  readonly engine: ContainerEngine;
  readonly images: ImageStore;
  readonly usage: ImageUsage;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How long an image stays that no module uses, in milliseconds (IoT Edge, image garbage collection: 7 days). */
const keepUnusedMs = 7 * 24 * 3_600_000;
/** How often it is looked for such, in milliseconds. */
const everyMs = 24 * 3_600_000;
/** How long after the start it is first looked, in milliseconds: modules come first. */
const firstAfterMs = 10 * 60_000;

/** Removes images that no module has used for days, once a day until the signal is aborted. */
export async function clearImagesDaily(options: ClearImagesOptions, signal: AbortSignal): Promise<void> {
  for (let waitMs = firstAfterMs; !signal.aborted; waitMs = everyMs) {
    await options.clock.sleep(waitMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await clearImages(options);
    } catch (error) {
      options.log.warn({ why: messageOf(error) }, 'could not remove images that are not used');
    }
  }
}

/**
 * Removes images that no module has used for seven days, from the engine and from the device's own, and downloads that were given up. An image that a container is made
 * from is in use, whether that runs or not.
 */
export async function clearImages({ engine, images, usage, clock, log }: ClearImagesOptions): Promise<void> {
  const inUse = new Set<Digest>();
  for (const { labels } of await engine.list()) {
    const { imageDigest } = madeFrom(labels);
    if (isDigest(imageDigest)) inUse.add(imageDigest);
  }
  await usage.note(inUse, clock.nowMs());
  await images.forgetUnfinished(clock.nowMs() - keepUnusedMs);
  for (const image of usage.unusedFor(keepUnusedMs, clock.nowMs())) {
    await engine.forgetImage(image);
    await images.forget(image);
    await usage.forget(image);
    log.info({ image }, 'removed an image that was not used for 7 days');
  }
}
