import type { ClientRequest, IncomingMessage } from 'node:http';
import { systemCodeOf } from '../errors.ts';
import { productVersion } from '../version.ts';

/**
 * What is sent: bytes, or a stream that can be begun again, as long as it says or, where it says nothing, as it turns out to be. A piece of it may be
 * used again when the next one is asked for.
 */
export type RequestBody = Uint8Array | { readonly size?: number; open(): AsyncIterable<Uint8Array> };

/** One request. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** Ends it, its answer's body included. */
  readonly signal: AbortSignal;
}

/** An answer; its body is to be read or let go, since it holds the connection. */
export interface HttpAnswer {
  readonly status: number;
  /** Where it came from, after redirections. */
  readonly url: URL;
  header(name: string): string | undefined;
  /** Gives the body, once. */
  pieces(): AsyncIterable<Uint8Array>;
  /** Lets go of what is left of the body; harmless when nothing is. */
  letGo(): void;
}

/** Where blobs are kept elsewhere, a registry sends one there, mostly once. */
const redirectionsMax = 5;

/**
 * Sends one request and follows redirections: another host is not given the credentials, and nothing goes from TLS to none.
 *
 * By node:http instead of `fetch`: loading `fetch` alone takes as long as the rest of a command, and a body of 100 MB takes three times
 * as long through it.
 */
export async function exchange(request: HttpRequest): Promise<HttpAnswer> {
  let { method, url, headers, body } = request;
  for (let redirections = 0; ; redirections += 1) {
    const answer = await exchangeOnce({ method, url, headers, signal: request.signal, ...(body && { body }) });
    const next = redirectionOf(answer, method);
    if (next === undefined) return answer;
    answer.letGo();
    if (redirections >= redirectionsMax) throw new Error(`It redirects over ${redirectionsMax} times`);
    if (url.protocol === 'https:' && next.protocol !== 'https:') throw new Error('It redirects from https to http');
    if (next.origin !== url.origin) headers = without(headers, 'authorization');
    if (answer.status === 303) {
      method = 'GET';
      body = undefined;
    }
    url = next;
  }
}

/**
 * Tries this machine by its IPv4 address first: to learn that `localhost` is a name takes 10 ms, for the pattern of IPv6 addresses, and looking it
 * up some more.
 */
async function exchangeOnce(request: HttpRequest): Promise<HttpAnswer> {
  const { protocol, hostname, host } = request.url;
  if (protocol !== 'http:' || hostname !== 'localhost') return exchangeWith(request, {});
  try {
    return await exchangeWith({ ...request, headers: { host, ...request.headers } }, { hostname: '127.0.0.1' });
  } catch (error) {
    if (systemCodeOf(error) === 'ECONNREFUSED') return exchangeWith(request, {});
    throw error;
  }
}

async function exchangeWith(request: HttpRequest, address: { readonly hostname?: string }): Promise<HttpAnswer> {
  const { method, url, headers, body, signal } = request;
  // As an `import`, node:http would evaluate everything that it gives, WebSocket and with it all of `fetch` among that.
  const { request: begin } = process.getBuiltinModule(url.protocol === 'https:' ? 'node:https' : 'node:http');
  const client = begin(url, {
    ...address,
    // The name in the host header would be looked at for an address, and the pattern of IPv6 addresses takes 10 ms to compile.
    ...(url.protocol === 'http:' && { servername: '' }),
    method,
    headers: { 'user-agent': `modelferry/${productVersion}`, ...headers, ...lengthOf(body) },
    signal,
  });
  const { promise: answered, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  client.once('response', resolve);
  // It stays listened to: a connection may break after its answer has come.
  client.on('error', reject);
  sendBody(client, body).catch((error: unknown) => client.destroy(error as Error));
  return answerOf({ message: await answered, client, url, isBodiless: method === 'HEAD' });
}

function lengthOf(body: RequestBody | undefined): Readonly<Record<string, string>> {
  const bytes = body instanceof Uint8Array ? body.byteLength : body?.size;
  return bytes === undefined ? {} : { 'content-length': String(bytes) };
}

/** Sends a body as fast as it is taken; ends early where the other side has answered and gone. */
async function sendBody(client: ClientRequest, body: RequestBody | undefined): Promise<void> {
  if (body === undefined || body instanceof Uint8Array) {
    client.end(body);
    return;
  }
  const { promise: gone, resolve: go } = Promise.withResolvers<void>();
  client.once('close', go);
  let bytes = 0;
  for await (const piece of body.open()) {
    if (client.destroyed) return;
    bytes += piece.byteLength;
    const { promise: sent, resolve } = Promise.withResolvers<void>();
    client.write(piece, () => resolve());
    await Promise.race([sent, gone]);
  }
  if (body.size !== undefined && bytes !== body.size)
    throw new Error(`${bytes} bytes were there to be sent, ${body.size} were wanted`);
  client.end();
}

function answerOf(parts: {
  readonly message: IncomingMessage;
  readonly client: ClientRequest;
  readonly url: URL;
  readonly isBodiless: boolean;
}): HttpAnswer {
  const { message, client, url, isBodiless } = parts;
  // Read at once, so that the connection can be used again.
  if (isBodiless) message.resume();
  const letGo = (): void => {
    // An answer that came before all was sent (a refusal, mostly) leaves a connection that is of no use any more.
    if (!message.complete || !client.writableFinished) client.destroy();
  };
  return {
    status: message.statusCode ?? 0,
    url,
    header: (name) => message.headersDistinct[name]?.join(', '),
    pieces: async function* () {
      if (isBodiless) return;
      try {
        for await (const piece of message as AsyncIterable<Buffer>) yield piece;
      } finally {
        letGo();
      }
    },
    letGo,
  };
}

function redirectionOf(answer: HttpAnswer, method: string): URL | undefined {
  const isRead = method === 'GET' || method === 'HEAD';
  const statuses = isRead ? [301, 302, 303, 307, 308] : [303, 307, 308];
  const location = answer.header('location');
  return statuses.includes(answer.status) && location !== undefined ? new URL(location, answer.url) : undefined;
}

function without(headers: Readonly<Record<string, string>>, name: string): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).filter(([own]) => own.toLowerCase() !== name));
}
