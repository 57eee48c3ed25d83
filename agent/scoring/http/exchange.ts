import { type ErrorCode, FerryError, isFerryError } from '../../../shared/errors.ts';
import type { ScoredModel } from '../../../shared/model/service-config.ts';
import { productVersion } from '../../../shared/version.ts';
import { newId } from '../new-id.ts';
import type { Scored } from '../scorer.ts';
import type { RequestSpan } from '../telemetry/telemetry.ts';
import type { RequestBody } from './request-body.ts';
import type { RequestHead } from './request-head.ts';

/** The longest request id that is taken, as Azure ML has it. */
const idLengthMax = 100;

/** The header of an answer that names the rows which were collected of it. */
export const correlationHeader = 'x-modelferry-correlation-id';

/** The header by which Azure ML says whether it was the model that failed. */
export const failedHeader = 'x-ms-run-function-failed';

/** Status of each failure that a client may see; what is not here is this server's own fault. */
const statusOf: Partial<Record<ErrorCode, number>> = {
  ACCELERATOR_UNAVAILABLE: 503,
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
  /** More headers, each a line already. */
  readonly fields?: string;
}

/** Sends an answer. @param fields its headers, each a line */
export type SendAnswer = (status: number, fields: string, body: string | Uint8Array) => void;

const serverField = `x-ms-server-version: modelferry/${productVersion}\r\n`;

/** One request and its answer: who asked, by which ids, and in which form errors are told. */
export class Exchange {
  readonly request: RequestHead;
  readonly body: RequestBody;
  readonly requestId: string;
  /** Whether it was made here, so that no other request has it. */
  readonly idIsOwn: boolean;
  /** Path without the query. */
  readonly path: string;
  /** When its first bytes came, by `performance.now()`. */
  readonly startMs: number;
  /** Bytes of the request that are held. */
  heldBytes = 0;
  /** Where they are, if they may be overwritten when the answer has left. */
  room: Buffer | undefined;
  /** The model that was asked, and what it gave. */
  model: ScoredModel | undefined;
  scored: Scored | undefined;
  /** Of the trace, where traces are on. */
  span: RequestSpan | undefined;
  readonly clientRequestId: string | undefined;
  /** Whether an id is longer than is taken; such ids are not repeated. */
  readonly idsAreTooLong: boolean;
  readonly #traceId: string | undefined;
  readonly #send: SendAnswer;
  #moreHeaders: readonly string[] = none;
  #status = 0;
  #gone = false;
  #closesAfter = false;

  constructor(
    request: RequestHead,
    parts: { readonly body: RequestBody; readonly startMs: number; readonly send: SendAnswer },
  ) {
    this.request = request;
    this.body = parts.body;
    this.startMs = parts.startMs;
    this.#send = parts.send;
    const { headers, target } = request;
    const queryAt = target.indexOf('?');
    this.path = queryAt === -1 ? target : target.slice(0, queryAt);
    this.clientRequestId = headers.get('x-ms-client-request-id') || undefined;
    const givenId = headers.get('x-request-id') || undefined;
    this.requestId = givenId ?? newId();
    this.idIsOwn = givenId === undefined;
    this.#traceId = headers.get('traceid') || undefined;
    this.idsAreTooLong = isTooLong(this.requestId) || isTooLong(this.clientRequestId) || isTooLong(this.#traceId);
  }

  /** Whether the client has gone without waiting for its answer. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Whether there is an answer. */
  get isAnswered(): boolean {
    return this.#status !== 0;
  }

  /** Whether the connection ends with the answer. */
  get closesAfter(): boolean {
    return this.#closesAfter;
  }

  /** HEAD is GET, as far as anybody has to decide. */
  get method(): string {
    const { method } = this.request;
    return method === 'HEAD' ? 'GET' : method;
  }

  /** The status that was answered; 499, as nginx has it, where the client has gone. */
  get status(): number {
    return this.#gone ? 499 : this.#status;
  }

  /** Takes note that nobody waits for the answer any more. */
  leave(): void {
    this.#gone = true;
  }

  /** Sets headers of the answer, whatever it will be: name, value, name, value, … */
  alwaysReply(headers: readonly string[]): void {
    this.#moreHeaders = headers;
  }

  /** Answers. */
  reply({ status, contentType, body, headers = none, fields = '' }: Reply): void {
    if (this.#status !== 0 || this.#gone) return;
    this.#status = status;
    const ids = this.idsAreTooLong ? '' : this.#idFields();
    const more = this.#moreHeaders.length + headers.length === 0 ? '' : fieldsOf([...this.#moreHeaders, ...headers]);
    this.#send(status, `${ids}${more}${fields}content-type: ${contentType}\r\n${serverField}`, body);
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
    this.#closesAfter = true;
  }

  #idFields(): string {
    const { requestId, clientRequestId } = this;
    // x-ms-request-id is the old name of one or the other.
    const ids = `x-request-id: ${requestId}\r\nx-ms-request-id: ${clientRequestId ?? requestId}\r\n`;
    if (clientRequestId === undefined && this.#traceId === undefined) return ids;
    const clientId = clientRequestId === undefined ? '' : `x-ms-client-request-id: ${clientRequestId}\r\n`;
    return ids + clientId + (this.#traceId === undefined ? '' : `traceid: ${this.#traceId}\r\n`);
  }
}

function fieldsOf(headers: readonly string[]): string {
  let fields = '';
  for (let at = 0; at < headers.length; at += 2) {
    fields += `${headers[at]}: ${headers[at + 1]}\r\n`;
  }
  return fields;
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
