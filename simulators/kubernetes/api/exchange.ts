import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseDocument } from 'yaml';
import { isJson, type Json } from '../objects.ts';
import { ApiError, badRequest } from '../status.ts';
import { protobufType, readProtobuf } from './protobuf.ts';

/** Largest body of a request, in bytes; etcd and the API server allow about as much. */
const bodyBytesMax = 3 * 1024 * 1024;

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly method: string;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    const url = new URL(request.url ?? '/', 'https://localhost');
    this.path = url.pathname.replace(/\/+$/, '') || '/';
    this.query = url.searchParams;
    this.method = request.method ?? 'GET';
  }

  /** The media type of the body, without its parameters. */
  get contentType(): string {
    return (this.request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim().toLowerCase() ?? '';
  }

  get accept(): string {
    return this.request.headers.accept ?? '*/*';
  }

  /** Who the client says that it is: the first word of `User-Agent`, which names its manager where it gives no other. */
  get userAgent(): string {
    return (this.request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown';
  }

  flag(name: string): boolean {
    const value = this.query.get(name);
    return value === 'true' || value === '1';
  }

  /** @throws {ApiError} 400 when it is no whole number */
  number(name: string): number | undefined {
    const text = this.query.get(name);
    if (text === null || text === '') return undefined;
    if (!/^\d+$/.test(text))
      throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax of the parameter "${name}"`);
    return Number(text);
  }

  /**
   * Reads the body as JSON, YAML or protobuf; undefined where there is none.
   * @throws {ApiError} 400, 413, 415
   */
  async body(types: readonly string[] = ['application/json', 'application/yaml', protobufType]): Promise<unknown> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.request) {
      bytes += (chunk as Buffer).length;
      if (bytes > bodyBytesMax) {
        throw new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${bodyBytesMax}`);
      }
      chunks.push(chunk as Buffer);
    }
    if (bytes === 0) return undefined;
    if (!types.includes(this.contentType)) {
      const message = `the body of the request was in an unknown format - accepted media types include: ${types.join(', ')}`;
      throw new ApiError(415, 'UnsupportedMediaType', message);
    }
    if (this.contentType === protobufType) return readProtobuf(Buffer.concat(chunks));
    const text = Buffer.concat(chunks).toString();
    if (this.contentType.endsWith('json')) {
      try {
        return JSON.parse(text);
      } catch (error) {
        throw badRequest(`the object provided is unrecognized: ${error instanceof Error ? error.message : 'no JSON'}`);
      }
    }
    const document = parseDocument(text);
    const [first] = document.errors;
    if (first !== undefined) throw badRequest(`error converting YAML to JSON: ${first.message.split('\n')[0]}`);
    return document.toJS({ maxAliasCount: 100 });
  }

  /** Reads the body as an object. @throws {ApiError} 400 when it is none */
  async object(types?: readonly string[]): Promise<Json> {
    const body = await this.body(types);
    if (!isJson(body)) throw badRequest('the object provided is unrecognized: an object was wanted');
    return body;
  }

  warn(warnings: readonly string[]): void {
    if (warnings.length === 0) return;
    const quoted = warnings.map((text) => `299 - "${text.replace(/["\\]/g, '\\$&').replace(/\n/g, ' ')}"`);
    this.response.setHeader('warning', quoted);
  }

  answer(code: number, body: Json): void {
    this.response.writeHead(code, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    this.response.end(`${JSON.stringify(body)}\n`);
  }

  text(code: number, body: string): void {
    this.response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' });
    this.response.end(body);
  }

  refuse(error: ApiError): void {
    if (this.response.headersSent) {
      this.response.end();
      return;
    }
    const after = error.details.retryAfterSeconds;
    if (after !== undefined) this.response.setHeader('retry-after', String(after));
    this.answer(error.code, error.status());
  }
}
