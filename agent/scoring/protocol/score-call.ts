import type { Tensor } from '../../collect/tensor.ts';
import type { Wanted } from '../model/batcher.ts';

/** The wire formats that a request to score may have. */
export type Protocol = 'infer' | 'score';

/** A request to score: bytes that nobody has looked at yet. */
export interface ScoreCall {
  readonly protocol: Protocol;
  readonly body: Uint8Array;
  /** Bytes of JSON at the start of the body, where binary tensors follow it. */
  readonly jsonBytes: number | undefined;
  readonly requestId: string;
  /** Whether this server made the id, so that no other request has it. @default false */
  readonly idIsOwn?: boolean | undefined;
  readonly wanted: Wanted;
  /** What came with the body, for scripts alone. */
  readonly http?: HttpParts | undefined;
}

/** A request's parts beside its body. */
export interface HttpParts {
  readonly method: string;
  /** Behind the `?`, or empty. */
  readonly query: string;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An answer, ready to be sent. */
export interface Answer {
  readonly contentType: string;
  /** A string holds nothing but ASCII. */
  readonly body: string | Uint8Array;
  /** Bytes of JSON at the start of the body, where binary tensors follow it. */
  readonly jsonBytes?: number;
  /** @default 200 */
  readonly status?: number;
  /** More headers: name, value, name, value, … */
  readonly headers?: readonly string[];
}

/** A request that was read: what to run, and how to write what comes of it. */
export interface ParsedRequest {
  /** In the order of the signature. */
  readonly feeds: readonly Tensor[];
  answer(outputs: readonly Tensor[]): Answer;
}
