import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { messageOf } from '../../../shared/errors.ts';
import type { RouteFigures } from './route-figures.ts';
import { headersOf, type VersionRequest, type VersionUpstream } from './version-upstream.ts';

/** Bytes of a request that are kept, for a second try and for copies. */
const keptBytesMax = 1_048_576;

/** What a request is routed with. */
export interface RouteOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Whose it is, and who gets it where that one does not answer. */
  readonly versions: readonly [VersionUpstream, ...VersionUpstream[]];
  /** Who gets a copy. */
  readonly copies: readonly VersionUpstream[];
  readonly timeoutMs: number;
  readonly figures: RouteFigures;
  /** Sends copies without the client waiting for them. */
  readonly send: (copy: Copy) => void;
}

/** A copy of a request, whole. */
export interface Copy {
  readonly to: VersionUpstream;
  readonly request: VersionRequest;
  readonly body: readonly Buffer[];
}

/**
 * Hands a request to its version, and its answer to the client, piece by piece as they come. A version that cannot be reached before its
 * answer has begun costs the client nothing: the request goes to the next one, as long as all of it is still here.
 */
export async function routeRequest(options: RouteOptions): Promise<void> {
  const { request, response, versions, timeoutMs, figures } = options;
  const handed: VersionRequest = {
    method: request.method ?? 'GET',
    path: request.url ?? '/',
    headers: headersOf(request),
  };
  const body = new KeptBody(request);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(timeoutMs)]);
  for (const upstream of versions) {
    try {
      const answer = await answerOf(upstream.request(handed, signal), body);
      response.writeHead(answer.statusCode ?? 502, [...headersOf(answer), 'x-modelferry-version', upstream.name]);
      figures.request(upstream.name, answer.statusCode ?? 502);
      await pipe(answer, response);
      break;
    } catch (error) {
      if (gone.signal.aborted) return;
      if (response.headersSent) {
        // Only the end of the connection can say that the answer is not whole.
        response.destroy();
        return;
      }
      const isLast = upstream === versions.at(-1) || !body.isKept || signal.aborted;
      if (!isLast) continue;
      const status = signal.aborted ? 504 : 502;
      figures.request(upstream.name, status);
      const message = `Cannot score: the version "${upstream.name}" ${signal.aborted ? 'took too long' : `does not answer (${messageOf(error)})`}`;
      response.writeHead(status, { 'content-type': 'application/json', 'x-modelferry-version': upstream.name });
      response.end(JSON.stringify({ message }));
      request.resume();
      return;
    }
  }
  copyTo(options, handed, body);
}

/** Hands out copies of a request that was answered. */
function copyTo({ copies, figures, send }: RouteOptions, handed: VersionRequest, body: KeptBody): void {
  for (const to of copies) {
    // One that is too large to be kept is not copied, and counted.
    if (!body.isKept || !body.isWhole) figures.copy(to.name, 'dropped');
    else send({ to, request: { ...handed, headers: withoutLength(handed.headers) }, body: body.pieces });
  }
}

/** A copy is sent in one piece, whose length its sender says. */
function withoutLength(headers: readonly string[]): string[] {
  return headers.filter((_text, at) => (headers[at - (at % 2)] ?? '').toLowerCase() !== 'content-length');
}

/** A request's body: handed on as it comes, and kept as long as it is small. */
class KeptBody {
  readonly #request: IncomingMessage;
  #bytes = 0;
  readonly pieces: Buffer[] = [];
  isWhole = false;
  isKept = true;

  constructor(request: IncomingMessage) {
    this.#request = request;
  }

  /** Writes what has come, and goes on as more does. */
  async writeTo(target: ClientRequest): Promise<void> {
    for (const piece of this.pieces) target.write(piece);
    if (!this.isWhole) {
      // Another try reads on where this one has stopped.
      for await (const piece of this.#request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        this.#keep(piece);
        if (target.destroyed) return;
        if (!target.write(piece)) await drained(target);
      }
      this.isWhole = true;
    }
    target.end();
  }

  #keep(piece: Buffer): void {
    this.#bytes += piece.byteLength;
    if (this.#bytes <= keptBytesMax) {
      this.pieces.push(piece);
      return;
    }
    this.isKept = false;
    this.pieces.length = 0;
  }
}

async function answerOf(target: ClientRequest, body: KeptBody): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  target.once('response', resolve);
  target.on('error', reject);
  body.writeTo(target).catch(reject);
  return await promise;
}

async function pipe(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  for await (const piece of answer as AsyncIterable<Buffer>) if (!response.write(piece)) await drained(response);
  response.end();
}

async function drained(stream: ClientRequest | ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const events = ['drain', 'close', 'error'] as const;
  for (const event of events) stream.on(event, resolve);
  await promise;
  for (const event of events) stream.off(event, resolve);
}
