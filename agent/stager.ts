import { withDeadline } from '../shared/deadline.ts';
import type { Digest } from '../shared/digest.ts';
import { messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';

/** How long breaking off may take, in milliseconds: the agent has 10 s to end. */
const endTimeoutMs = 1_000;

/** Gets one image onto the device and ready to run, and gives its digest. */
export type StageImage = (image: string, signal: AbortSignal) => Promise<Digest>;

/** How one staging ended. */
export interface StagingEnd {
  readonly image: string;
  /** Absent when it went well. */
  readonly error?: unknown;
}

/**
 * Stages images in the background, so that nothing else waits for a slow link. One image is staged once at a time; what is no
 * longer wanted is broken off.
 */
export class Stager {
  readonly #stageImage: StageImage;
  readonly #onEnd: (end: StagingEnd) => void;
  readonly #log: Logger;
  readonly #running = new Map<string, { readonly controller: AbortController; readonly done: Promise<void> }>();
  readonly #staged = new Map<string, Digest>();

  constructor(options: { stageImage: StageImage; onEnd: (end: StagingEnd) => void; log: Logger }) {
    this.#stageImage = options.stageImage;
    this.#onEnd = options.onEnd;
    this.#log = options.log;
  }

  /** Images that are ready to run, as deployments name them, with their digests. */
  get staged(): ReadonlyMap<string, Digest> {
    return this.#staged;
  }

  /** Images that are being staged. */
  get staging(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  /** Begins to stage an image, unless that has begun. */
  begin(image: string): void {
    if (this.#running.has(image)) return;
    const controller = new AbortController();
    this.#running.set(image, { controller, done: this.#run(image, controller.signal) });
  }

  /** Breaks off what is staged for nobody, and forgets what is staged and not wanted. */
  keepOnly(images: ReadonlySet<string>): void {
    for (const [image, { controller }] of this.#running) {
      if (!images.has(image)) controller.abort(new Error('no longer wanted'));
    }
    for (const image of this.#staged.keys()) if (!images.has(image)) this.#staged.delete(image);
  }

  /** Breaks off everything and waits until it has ended, but not for long: what is begun can be gone on with after any end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.keepOnly(new Set());
    const ended = Promise.all([...this.#running.values()].map(({ done }) => done));
    await withDeadline({ doing: 'break off staging', timeoutMs: endTimeoutMs }, () => ended).catch((error: unknown) => {
      this.#log.warn({ why: messageOf(error) }, 'staging goes on while the agent ends');
    });
  }

  async #run(image: string, signal: AbortSignal): Promise<void> {
    const startedMs = performance.now();
    try {
      this.#log.info({ image }, 'staging');
      const digest = await this.#stageImage(image, signal);
      this.#running.delete(image);
      if (signal.aborted) return;
      this.#staged.set(image, digest);
      this.#log.info({ image, digest, tookMs: Math.round(performance.now() - startedMs) }, 'staged');
      this.#onEnd({ image });
    } catch (error) {
      this.#running.delete(image);
      if (!signal.aborted) this.#onEnd({ image, error });
    }
  }
}
