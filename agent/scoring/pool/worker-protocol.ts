import type { ErrorCode } from '../../../shared/errors.ts';
import type { Signature } from '../../../shared/model/signature.ts';
import type { HttpParts, Protocol } from '../protocol/score-call.ts';
import type { StageTimes } from '../scorer.ts';
import type { ScoringSettings } from '../settings.ts';

/** What a worker says once, when its model has been loaded and tried. */
export interface WorkerReady {
  readonly kind: 'ready';
  /** Whether requests gain by sharing a run. */
  readonly sharesRuns: boolean;
  /** What a script declares of itself. */
  readonly script?: { readonly signature: Signature; readonly raw: boolean };
}

/** What a worker is asked; the request's bytes follow as the frame's body, or lie on its shelf. */
export interface WorkerRequest {
  readonly id: number;
  readonly protocol: Protocol;
  readonly jsonBytes: number | undefined;
  readonly requestId: string;
  readonly idIsOwn?: boolean | undefined;
  /** Time that is left for it. */
  readonly timeLeftMs: number;
  readonly timeoutMs: number;
  readonly http?: HttpParts | undefined;
  /** Where on the shelf its bytes are. @default they follow */
  readonly shelved?: { readonly place: number; readonly bytes: number } | undefined;
}

/** What a worker answers; the answer's bytes follow as the frame's body. */
export interface WorkerAnswer {
  readonly kind: 'answer';
  readonly id: number;
  readonly contentType: string;
  readonly jsonBytes?: number;
  readonly times: StageTimes;
  readonly batchRequests: number;
  readonly correlationId?: string | undefined;
  readonly status?: number;
  readonly headers?: readonly string[];
}

/** What a worker answers where it fails. */
export interface WorkerFailure {
  readonly kind: 'failure';
  readonly id: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Everything that a worker says. */
export type WorkerMessage = WorkerReady | WorkerAnswer | WorkerFailure;

/** What a worker is told first. */
export interface WorkerOrder {
  /** Of the server, which has read them. */
  readonly settings: ScoringSettings;
  /** Position of its model in the service configuration, or the image's script. */
  readonly model: number | 'script';
}

/** The argument that makes a process of this program a worker. */
export const workerRole = 'worker';

/** The file descriptor at which a worker finds its pipe to the server. */
export const workerPipe = 3;

/** The file descriptor at which a worker finds its shelf, where there is one. */
export const workerShelf = 4;
