import { FerryError, messageOf } from '../../../shared/errors.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import type { Tensor } from '../../collect/tensor.ts';
import { timedOut } from '../model/batcher.ts';
import { readRuntimeAnswer, writeRuntimeRequest } from './runtime-message.ts';

/** How long the runtime may take to say how it is. */
const askTimeoutMs = 2000;
/** The largest answer that is read. */
const answerBytesMax = 256 * 1024 * 1024;
const jsonLength = 'inference-header-content-length';

/** How long one inference may take: until a moment of `performance.now()`, and what the client is told of it. */
export interface Deadline {
  readonly deadlineAtMs: number;
  readonly timeoutMs: number;
}

/** Talks to the runtime of an accelerator about one model. */
export class RuntimeClient {
  readonly #url: string;
  readonly #model: ServiceModel;

  /** @param name what the runtime calls the model */
  constructor(url: string, name: string, model: ServiceModel) {
    this.#url = `${url}/v2/models/${encodeURIComponent(name)}`;
    this.#model = model;
  }

  /**
   * Gives what the runtime says of the model, once it has it ready.
   * @throws {FerryError} ACCELERATOR_UNAVAILABLE
   */
  async metadata(): Promise<unknown> {
    const signal = AbortSignal.timeout(askTimeoutMs);
    await this.#fetch('/ready', { signal });
    const { body } = await this.#fetch('', { signal });
    try {
      return JSON.parse(Buffer.from(body).toString()) as unknown;
    } catch (cause) {
      throw unavailable('what it says of the model is no JSON', cause);
    }
  }

  /**
   * Runs the model on the accelerator.
   * @throws {FerryError} ACCELERATOR_UNAVAILABLE, OVERLOADED, TIMEOUT, SCORING_FAILED
   */
  async infer(feeds: readonly Tensor[], { deadlineAtMs, timeoutMs }: Deadline): Promise<Tensor[]> {
    const leftMs = Math.ceil(deadlineAtMs - performance.now());
    if (leftMs <= 0) throw timedOut(timeoutMs);
    const signal = AbortSignal.timeout(leftMs);
    const { json, body } = writeRuntimeRequest(feeds, this.#model);
    try {
      const answer = await this.#fetch('/infer', {
        signal,
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream', [jsonLength]: String(json) },
        body,
      });
      return readRuntimeAnswer(answer.body, answer.jsonBytes, this.#model);
    } catch (error) {
      throw signal.aborted ? timedOut(timeoutMs) : error;
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<{ body: Uint8Array; jsonBytes: number | undefined }> {
    let response: Response;
    let body: Uint8Array;
    try {
      response = await fetch(this.#url + path, { ...init, redirect: 'error' });
      body = await bodyOf(response);
    } catch (cause) {
      throw unavailable(init.signal?.aborted === true ? 'it does not answer in time' : 'it cannot be reached', cause);
    }
    if (!response.ok) throw this.#refusal(response.status, body);
    const length = response.headers.get(jsonLength);
    return { body, jsonBytes: length === null ? undefined : Number(length) };
  }

  #refusal(status: number, body: Uint8Array): FerryError {
    const said = `${status} ${errorIn(body)}`.trim();
    const { name, version } = this.#model;
    // What it was sent fits the signature: it has another model, or is broken.
    if (status === 400 || status === 500) {
      return new FerryError(
        'SCORING_FAILED',
        `Cannot score with the model ${name}:${version}: the accelerator answered ${said}`,
      );
    }
    if (status === 429 || status === 503) {
      return new FerryError('OVERLOADED', `Cannot score now: the accelerator answered ${said}`);
    }
    return unavailable(`it answered ${said}`);
  }
}

function unavailable(reason: string, cause?: unknown): FerryError {
  return new FerryError('ACCELERATOR_UNAVAILABLE', `Cannot score now: the accelerator's runtime is away, ${reason}`, {
    cause,
  });
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > answerBytesMax) throw new Error(`its answer has more than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The protocol's body of an error; text that is none is not told. */
function errorIn(body: Uint8Array): string {
  try {
    const { error } = JSON.parse(Buffer.from(body).toString()) as { error?: unknown };
    return typeof error === 'string' ? error.slice(0, 1000) : '';
  } catch (error) {
    return messageOf(error) === '' ? '' : '(no JSON)';
  }
}
