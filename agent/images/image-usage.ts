import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Digest, isDigest } from '../../shared/digest.ts';
import { writeDurably } from '../../shared/durable-file.ts';

const recordSchema = z.record(z.string(), z.number());

/**
 * When each image of the device was last in use, kept on disk. A damaged file counts as empty: then everything is in use as of
 * now, and goes later instead of too early.
 */
export class ImageUsage {
  readonly #path: string;
  readonly #lastUsedMs = new Map<Digest, number>();

  private constructor(path: string) {
    this.#path = path;
  }

  static async open(path: string): Promise<ImageUsage> {
    const usage = new ImageUsage(path);
    const record = recordSchema.safeParse(parseJson(await readFile(path, 'utf8').catch(() => '')));
    for (const [digest, at] of Object.entries(record.data ?? {}))
      if (isDigest(digest)) usage.#lastUsedMs.set(digest, at);
    return usage;
  }

  /** Notes that images are in use now, or have just come. Wall-clock time: it has to outlive restarts. */
  async note(images: Iterable<Digest>, nowMs: number): Promise<void> {
    for (const image of images) this.#lastUsedMs.set(image, nowMs);
    await this.#write();
  }

  /** Gives the images that have not been in use for so long, the longest first. A clock that was ahead and was set right makes none old. */
  unusedFor(ms: number, nowMs: number): Digest[] {
    const unused = [...this.#lastUsedMs].filter(([, at]) => nowMs - at >= ms);
    return unused.toSorted(([, one], [, other]) => one - other).map(([image]) => image);
  }

  /** Forgets an image that is gone. */
  async forget(image: Digest): Promise<void> {
    this.#lastUsedMs.delete(image);
    await this.#write();
  }

  async #write(): Promise<void> {
    await writeDurably(this.#path, JSON.stringify(Object.fromEntries(this.#lastUsedMs)));
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
