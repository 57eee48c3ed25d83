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

/** How long an image stays although space is short, in milliseconds: what a deployment goes back to is no older. */
const keepInShortageMs = 3_600_000;

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
export async function clearImages(options: ClearImagesOptions): Promise<void> {
  const { images, usage, clock } = options;
  await noteUse(options);
  await images.forgetUnfinished(clock.nowMs() - keepUnusedMs);
  for (const image of usage.unusedFor(keepUnusedMs, clock.nowMs())) await removeImage(image, options);
}

/**
 * Removes images that are not in use, the one that was so longest ago first, until there is enough room or no such image is left. Those of the last
 * hour stay, and with them the one that a deployment on probation goes back to.
 * @param isEnough says whether there is room now
 */
export async function makeRoom(options: ClearImagesOptions, isEnough: () => Promise<boolean>): Promise<void> {
  const { usage, clock } = options;
  await noteUse(options);
  for (const image of usage.unusedFor(keepInShortageMs, clock.nowMs())) {
    if (await isEnough()) return;
    await removeImage(image, options);
  }
}

/** Notes which images containers are made from now. */
export async function noteUse({
  engine,
  usage,
  clock,
}: Pick<ClearImagesOptions, 'engine' | 'usage' | 'clock'>): Promise<void> {
  const inUse = new Set<Digest>();
  for (const { labels } of await engine.list()) {
    const { imageDigest } = madeFrom(labels);
    if (isDigest(imageDigest)) inUse.add(imageDigest);
  }
  await usage.note(inUse, clock.nowMs());
}

async function removeImage(image: Digest, { engine, images, usage, log }: ClearImagesOptions): Promise<void> {
  await engine.forgetImage(image);
  await images.forget(image);
  await usage.forget(image);
  log.info({ image }, 'removed an image that is not used');
}
