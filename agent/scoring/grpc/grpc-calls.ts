import { randomUUID } from 'node:crypto';
import {
  type handleUnaryCall,
  Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { type ErrorCode, isFerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { Callers } from '../http/callers.ts';
import { correlationHeader, tellFailure } from '../http/exchange.ts';
import type { BodyLimits } from '../http/request-body.ts';
import { logFailure, serverTiming } from '../http/score-endpoint.ts';
import type { ScoringMetrics } from '../metrics.ts';
import { metadataOf, serverMetadata, type TensorMetadata } from '../protocol/model-metadata.ts';
import type { Scored, Scorer } from '../scorer.ts';
import type { ServedModels } from '../served-models.ts';
import type { RequestObserver } from '../telemetry/request-observer.ts';
import { fromInferAnswer, type ModelInferRequest, type ModelInferResponse, toInferBody } from './infer-message.ts';

/** What the calls answer from. */
export interface GrpcCallsOptions {
  readonly models: ServedModels;
  readonly metrics: ScoringMetrics;
  readonly isReady: () => boolean;
  /** Lets callers pass. @default everybody */
  readonly callers: Callers | undefined;
  readonly timeoutMs: number;
  readonly bodies: BodyLimits;
  /** Hears of every inference. @default nobody does */
  readonly observer: RequestObserver | undefined;
  readonly log: Logger;
}

/** The status of each failure that a client may see; what is not here is this server's own fault. */
const statusOf: Partial<Record<ErrorCode, status>> = {
  ACCELERATOR_UNAVAILABLE: status.UNAVAILABLE,
  INTERRUPTED: status.CANCELLED,
  MODEL_NOT_FOUND: status.NOT_FOUND,
  OVERLOADED: status.UNAVAILABLE,
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  REQUEST_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  TIMEOUT: status.DEADLINE_EXCEEDED,
  UNAUTHORIZED: status.UNAUTHENTICATED,
};

/** The longest request id that is taken, as over HTTP. */
const idLengthMax = 100;

const inferPath = '/inference.GRPCInferenceService/ModelInfer';

interface NamedModel {
  readonly name: string;
  readonly version: string;
}

type Call = ServerUnaryCall<unknown, unknown>;

/** The six calls of the protocol, for gRPC's server. */
export class GrpcCalls {
  readonly #options: GrpcCallsOptions;

  constructor(options: GrpcCallsOptions) {
    this.#options = options;
  }

  /** One handler a call. What tells nothing but health is open to everybody, as over HTTP. */
  get handlers(): UntypedServiceImplementation {
    const { models, isReady } = this.#options;
    const find = ({ name, version }: NamedModel): Scorer => models.find(name, versionOf(version));
    return {
      ServerLive: answering(() => ({ live: true })),
      ServerReady: answering(() => ({ ready: isReady() })),
      ServerMetadata: answering((_, call) => {
        this.#check(call);
        return serverMetadata;
      }),
      ModelReady: answering((named: NamedModel, call) => {
        this.#check(call);
        find(named);
        return { ready: isReady() };
      }),
      ModelMetadata: answering((named: NamedModel, call) => {
        this.#check(call);
        const { inputs, outputs, ...metadata } = metadataOf(find(named), models);
        return { ...metadata, inputs: inputs.map(withDigits), outputs: outputs.map(withDigits) };
      }),
      ModelInfer: answering((request: ModelInferRequest, call) => {
        this.#check(call);
        return this.#infer(request, call);
      }),
    };
  }

  /** @throws {FerryError} UNAUTHORIZED */
  #check(call: Call): void {
    this.#options.callers?.check(text(call, 'authorization'));
  }

  async #infer(request: ModelInferRequest, call: Call): Promise<ModelInferResponse> {
    const { models, metrics, observer, log } = this.#options;
    const startMs = performance.now();
    const requestId = text(call, 'x-request-id')?.slice(0, idLengthMax) ?? randomUUID();
    const { model_name: name, model_version: version } = request;
    const scorer = models.find(name, versionOf(version));
    const span = observer?.begin({ name: inferPath, traceparent: text(call, 'traceparent') });
    let scored: Scored | undefined;
    let code = 200;
    try {
      scored = await this.#score(request, { call, scorer, requestId, startMs });
      call.sendMetadata(headersOf(requestId, scored));
      return fromInferAnswer(scored.answer, request);
    } catch (error) {
      code = tellFailure(error).status;
      if (code >= 500) logFailure({ requestId, span }, error, log);
      throw error;
    } finally {
      const totalMs = performance.now() - startMs;
      const answered = { status: call.cancelled ? 499 : code, totalMs, scored };
      metrics.request(name, answered);
      observer?.end(span, { ...answered, method: 'POST', path: inferPath, requestId, model: scorer.model });
    }
  }

  /** @throws {FerryError} what scoring throws */
  async #score(
    request: ModelInferRequest,
    at: { readonly call: Call; readonly scorer: Scorer; readonly requestId: string; readonly startMs: number },
  ): Promise<Scored> {
    const { bodies, timeoutMs } = this.#options;
    const { call, scorer, requestId, startMs } = at;
    const { body, jsonBytes } = toInferBody(request);
    // The client's own deadline, if it is earlier than the server's.
    const leftMs = Number(call.getDeadline()) - Date.now();
    const ownMs = Math.max(1, Math.floor(Math.min(timeoutMs, leftMs)));
    const wanted = {
      get abandoned() {
        return call.cancelled;
      },
      deadlineAtMs: startMs + ownMs,
      timeoutMs: ownMs,
    };
    try {
      bodies.budget.take(body.byteLength);
      return await scorer.score({ protocol: 'infer', body, jsonBytes, requestId, wanted });
    } finally {
      bodies.budget.give(body.byteLength);
    }
  }
}

/** Makes a handler of what gives an answer or throws. */
function answering<Request>(answer: (request: Request, call: Call) => unknown): handleUnaryCall<Request, unknown> {
  const reply = async (call: ServerUnaryCall<Request, unknown>, callback: sendUnaryData<unknown>): Promise<void> => {
    try {
      callback(null, await answer(call.request, call));
    } catch (error) {
      const code = isFerryError(error) ? (statusOf[error.code] ?? status.INTERNAL) : status.INTERNAL;
      callback({ code, details: tellFailure(error).message });
    }
  };
  return (call, callback) => void reply(call, callback);
}

function text({ metadata }: Call, name: string): string | undefined {
  const [first] = metadata.get(name);
  return typeof first === 'string' && first !== '' ? first : undefined;
}

/** The protocol leaves the version empty for any. */
function versionOf(version: string): string | undefined {
  return version === '' ? undefined : version;
}

function withDigits({ shape, ...tensor }: TensorMetadata): object {
  return { ...tensor, shape: shape.map(String) };
}

function headersOf(requestId: string, { times, correlationId }: Scored): Metadata {
  const metadata = new Metadata();
  metadata.set('x-request-id', requestId);
  metadata.set('server-timing', serverTiming(times));
  if (correlationId !== undefined) metadata.set(correlationHeader, correlationId);
  return metadata;
}
