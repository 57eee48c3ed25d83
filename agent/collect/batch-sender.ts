import { isFerryError, messageOf } from '../../shared/errors.ts';
import type { Pace } from './pace.ts';
import { renderBatch } from './render-batch.ts';
import type { Batch, Sealing } from './sealing.ts';
import type { UploadDestination } from './upload-destination.ts';

/** A batch that storage refused, while it took others or might have. */
export interface RefusedBatch {
  readonly name: string;
  readonly reason: string;
  /** Whether it is put aside now, after too many refusals. */
  readonly quarantined: boolean;
}

/** The settings of a {@link BatchSender}. */
export interface BatchSenderOptions {
  readonly sealing: Sealing;
  readonly destination: UploadDestination;
  readonly pace: Pace;
  readonly signal: AbortSignal;
}

/** Sends sealed batches, and settles them: acknowledged, or refused. */
export class BatchSender {
  readonly refused: RefusedBatch[] = [];
  readonly #options: BatchSenderOptions;

  constructor(options: BatchSenderOptions) {
    this.#options = options;
  }

  /**
   * Sends what the rows of a batch point to, then the batch.
   * @returns bytes of the batch's blob; undefined where storage refuses it
   * @throws what the destination throws but STORAGE_REFUSED: that concerns all batches alike
   */
  async send(batch: Batch): Promise<number | undefined> {
    const { sealing, signal } = this.#options;
    signal.throwIfAborted();
    try {
      const folder = batch.name.slice(0, batch.name.lastIndexOf('/') + 1);
      for (const { file, contentType, content } of sealing.payloads(batch)) {
        await this.#upload({ name: `${folder}${file}`, content, contentType, metadata: {} });
      }
      const blob = await renderBatch(sealing, batch);
      await this.#upload(blob);
      sealing.acknowledge(batch);
      return blob.content.byteLength;
    } catch (error) {
      if (!isFerryError(error, 'STORAGE_REFUSED')) throw error;
      this.refused.push({ name: batch.name, reason: messageOf(error), quarantined: sealing.refuse(batch) });
      return undefined;
    }
  }

  async #upload(blob: Parameters<UploadDestination['upload']>[0]): Promise<void> {
    const { destination, pace, signal } = this.#options;
    await pace.wait(blob.content.byteLength, signal);
    await destination.upload(blob, signal);
  }
}
