import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import { Refusal } from './refusal.ts';

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  /** As it was sent, percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? '/', 'http://registry');
    this.request = request;
    this.path = url.pathname;
    this.query = url.searchParams;
    this.#response = response;
  }

  get method(): string {
    return this.request.method ?? 'GET';
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Reads the body whole. @throws {Refusal} when it is larger */
  async body(bytesMax: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of this.request as AsyncIterable<Buffer>) {
      bytes += piece.byteLength;
      if (bytes > bytesMax) {
        throw new Refusal('MANIFEST_INVALID', `it has more than ${bytesMax} bytes, the most there may be`, {
          status: 413,
        });
      }
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  /** Answers; the body of an answer to HEAD is left out, its headers are those of GET. */
  answer(status: number, headers: Readonly<Record<string, string>> = {}, body: string | Uint8Array = ''): void {
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
    const hasBody = status !== 204 && status !== 304;
    this.#response.writeHead(status, {
      'docker-distribution-api-version': 'registry/2.0',
      ...(hasBody ? { 'content-length': String(length) } : {}),
      // What is left of a body that was not read would be taken for the next request.
      ...(this.request.complete ? {} : { connection: 'close' }),
      ...headers,
    });
    this.#response.end(this.method === 'HEAD' || !hasBody ? undefined : body);
  }

  answerJson(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): void {
    this.answer(status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value));
  }

  /** Answers with a stream, of which `content-length` must be among the headers. */
  async answerStream(status: number, headers: Readonly<Record<string, string>>, open: () => Readable): Promise<void> {
    this.#response.writeHead(status, { 'docker-distribution-api-version': 'registry/2.0', ...headers });
    if (this.method === 'HEAD') this.#response.end();
    else await pipeline(open(), this.#response);
  }

  refuse(refusal: Refusal): void {
    if (this.#response.headersSent) this.#response.destroy();
    else this.answer(refusal.status, { 'content-type': 'application/json', ...refusal.headers }, refusal.toBody());
  }
}
