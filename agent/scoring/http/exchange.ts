import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorCode, FerryError, isFerryError } from '../../../shared/errors.ts';
import type { ScoredModel } from '../../../shared/model/service-config.ts';
import { productVersion } from '../../../shared/version.ts';
import type { Scored } from '../scorer.ts';
import type { RequestSpan } from '../telemetry/telemetry.ts';

/** The longest request id that is taken, as Azure ML has it. */
const idLengthMax = 100;

/** The header of an answer that names the rows which were collected of it. */
export const correlationHeader = 'x-modelferry-correlation-id';

/** The header by which Azure ML says whether it was the model that failed. */
export const failedHeader = 'x-ms-run-function-failed';

/** Status of each failure that a client may see; what is not here is this server's own fault. */
const statusOf: Partial<Record<ErrorCode, number>> = {
  MODEL_NOT_FOUND: 404,
  OVERLOADED: 503,
  REQUEST_INVALID: 400,
  REQUEST_TOO_LARGE: 413,
  REQUEST_TYPE_UNSUPPORTED: 415,
  SCORING_FAILED: 500,
  TIMEOUT: 500,
  UNAUTHORIZED: 401,
};

/** What a status says beside its message. */
const moreHeaders: Partial<Record<number, readonly string[]>> = {
  401: ['www-authenticate', 'Bearer'],
  503: ['retry-after', '1'],
};

const none: readonly string[] = [];

/** What stands in the answer to a request, beside its headers of identity. */
export interface Reply {
  readonly status: number;
  readonly contentType: string;
  /** A string holds nothing but Latin-1. */
  readonly body: string | Uint8Array;
  /** More headers: name, value, name, value, … */
  readonly headers?: readonly string[];
}

/** One request and its answer: who asked, by which ids, and in which form errors are told. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly requestId: string;
  readonly startMs = performance.now();
  /** Bytes of the request that are held. */
  heldBytes = 0;
  /** The model that was asked, and what it gave. */
  model: ScoredModel | undefined;
  scored: Scored | undefined;
  /** Of the trace, where traces are on. */
  span: RequestSpan | undefined;
  readonly #response: ServerResponse;
  readonly clientRequestId: string | undefined;
  /** Whether an id is longer than is taken; such ids are not repeated. */
  readonly idsAreTooLong: boolean;
  readonly #traceId: string | undefined;
  #moreHeaders: readonly string[] = none;
  #gone = false;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.#response = response;
    const { headers } = request;
    this.clientRequestId = one(headers['x-ms-client-request-id']);
    this.requestId = one(headers['x-request-id']) ?? randomUUID();
    this.#traceId = one(headers['traceid']);
    this.idsAreTooLong = isTooLong(this.requestId) || isTooLong(this.clientRequestId) || isTooLong(this.#traceId);
    response.on('close', () => {
      this.#gone = !response.writableFinished;
    });
  }

  /** Whether the client has gone without waiting for its answer. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Path without the query. */
  get path(): string {
    const { url = '/' } = this.request;
    const queryAt = url.indexOf('?');
    return queryAt === -1 ? url : url.slice(0, queryAt);
  }

  /** HEAD is GET, as far as anybody has to decide. */
  get method(): string {
    const { method = 'GET' } = this.request;
    return method === 'HEAD' ? 'GET' : method;
  }

  /** The status that was answered; 499, as nginx has it, where the client has gone. */
  get status(): number {
    return this.#gone ? 499 : this.#response.statusCode;
  }

  /** Sets headers of the answer, whatever it will be: name, value, name, value, … */
  alwaysReply(headers: readonly string[]): void {
    this.#moreHeaders = headers;
  }

  /** Answers. */
  reply({ status, contentType, body, headers = [] }: Reply): void {
    if (this.#response.headersSent || this.#gone) return;
    const ids = this.idsAreTooLong ? [] : this.#idHeaders();
    const length = typeof body === 'string' ? body.length : body.byteLength;
    const all = [
      ...ids,
      ...this.#moreHeaders,
      ...headers,
      'content-type',
      contentType,
      'content-length',
      String(length),
    ];
    this.#response.writeHead(status, [...all, 'x-ms-server-version', `modelferry/${productVersion}`]);
    // To HEAD, Node sends the headers alone.
    if (typeof body === 'string') this.#response.end(body, 'latin1');
    else this.#response.end(body);
  }

  /** Answers with a JSON document. An error is nobody's but the caller's, unless the headers say that the model failed. */
  json(status: number, document: unknown, headers: readonly string[] = []): void {
    const told = status < 400 || headers.includes(failedHeader);
    this.reply({
      status,
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify(document)),
      headers: told ? headers : [...headers, failedHeader, 'False'],
    });
  }

  /** Ends the connection after the answer: the rest of the request is not read. */
  closeAfter(): void {
    if (!this.#response.headersSent) this.#response.setHeader('connection', 'close');
    this.#response.shouldKeepAlive = false;
  }

  #idHeaders(): string[] {
    const clientId = this.clientRequestId;
    // x-ms-request-id is the old name of one or the other.
    const ids = ['x-request-id', this.requestId, 'x-ms-request-id', clientId ?? this.requestId];
    if (clientId !== undefined) ids.push('x-ms-client-request-id', clientId);
    if (this.#traceId !== undefined) ids.push('traceid', this.#traceId);
    return ids;
  }
}

/** What a client is told of a failure. */
export interface ToldFailure {
  readonly status: number;
  readonly message: string;
  readonly headers: readonly string[];
}

/** Turns a failure into what a client is told of it; what it must not know stays out. */
export function tellFailure(error: unknown): ToldFailure {
  const status = isFerryError(error) ? statusOf[error.code] : undefined;
  if (status === undefined || !(error instanceof FerryError)) {
    return {
      status: 500,
      message: 'An unexpected internal error occurred. Check the logs for more info.',
      headers: [],
    };
  }
  return { status, message: error.message, headers: moreHeaders[status] ?? [] };
}

function isTooLong(id: string | undefined): boolean {
  return id !== undefined && id.length > idLengthMax;
}

function one(header: string | string[] | undefined): string | undefined {
  const first = Array.isArray(header) ? header[0] : header;
  return first === '' ? undefined : first;
}
