import { digestOf, type Digest, isDigest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Pull } from '../images/image-store.ts';
import type { LightNetwork } from './light-network.ts';
import type { Images } from './profile.ts';
import type { Timeline } from './timeline.ts';

/** Most that is waited for at once, in milliseconds, so that a pull stands still where its link does. */
const partMs = 5_000;

/** Gets images onto a light device: nothing moves, but it takes as long as if. What has come is kept over cuts. */
export class LightPulls {
  readonly #images: Images;
  readonly #network: LightNetwork;
  readonly #timeline: Timeline;
  readonly #onProgress: () => void;
  /** Bytes that are there, by image. */
  readonly #got = new Map<string, number>();
  readonly #running = new Map<string, Pull>();
  /** Whether there is no room for more. */
  isDiskFull = false;
  /** Bytes that came in all, and pulls that failed. */
  bytes = 0;
  failures = 0;

  constructor(
    images: Images,
    options: { readonly network: LightNetwork; readonly timeline: Timeline; readonly onProgress: () => void },
  ) {
    this.#images = images;
    this.#network = options.network;
    this.#timeline = options.timeline;
    this.#onProgress = options.onProgress;
  }

  /** The pulls that are under way. */
  get running(): readonly Pull[] {
    return [...this.#running.values()];
  }

  /**
   * Gets an image and gives its digest.
   * @throws {FerryError} IMAGE_NOT_FOUND, DISK_FULL
   */
  async pull(image: string, signal: AbortSignal): Promise<Digest> {
    try {
      await this.#fetch(image, signal);
    } catch (error) {
      if (!signal.aborted) this.failures += 1;
      throw error;
    } finally {
      this.#running.delete(image);
    }
    const digest = image.split('@')[1] ?? '';
    return isDigest(digest) ? digest : digestOf(image);
  }

  async #fetch(image: string, signal: AbortSignal): Promise<void> {
    const known = this.#images.get(image);
    if (known === undefined)
      throw new FerryError('IMAGE_NOT_FOUND', `Cannot pull "${image}": the registry has no such image`);
    const [repository] = image.split('@');
    const isFirst = ![...this.#got.keys()].some((other) => other !== image && other.startsWith(`${repository}@`));
    const totalBytes = isFirst ? known.bytes : known.changedBytes;
    for (let got = this.#got.get(image) ?? 0; got < totalBytes; got = this.#got.get(image) ?? 0) {
      if (this.isDiskFull) {
        throw new FerryError(
          'DISK_FULL',
          `Cannot keep "${image}": the disk is full, ${totalBytes - got} bytes were wanted`,
        );
      }
      this.#running.set(image, { image, gotBytes: got, totalBytes });
      await this.#network.untilUp(signal);
      const ms = Math.min(partMs, ((totalBytes - got) / this.#network.bytesPerSecond) * 1000);
      await this.#timeline.sleep(ms, signal);
      if (!this.#network.isUp) continue;
      const part = Math.min(totalBytes - got, Math.ceil((ms / 1000) * this.#network.bytesPerSecond));
      this.bytes += part;
      this.#got.set(image, got + part);
      if (got + part < totalBytes) this.#onProgress();
    }
    this.#got.set(image, totalBytes);
  }
}
