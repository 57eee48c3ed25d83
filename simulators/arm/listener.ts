import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Certificates } from '../certificates.ts';
import { ArmError } from './arm-error.ts';
import { SignInError } from './entra.ts';
import type { ArmAnswer, ArmRequest } from './route.ts';

/** Most that a request may hold (Resource Manager's limit for a PUT). */
const bodyBytesMax = 4 * 1024 * 1024;
const requestTimeoutMs = 60_000;

/** Where the simulator listens. */
export interface Listener extends AsyncDisposable {
  readonly port: number;
}

/** Serves HTTPS: reads requests whole, writes what they are answered with, turns errors into the envelope of the service. */
export async function listen(options: {
  readonly port: number;
  readonly certificates: Certificates;
  readonly log: Logger;
  readonly answer: (request: Omit<ArmRequest, 'parameters'>) => Promise<ArmAnswer>;
}): Promise<Listener> {
  const { port, certificates, log, answer } = options;
  const server = createServer({ cert: certificates.certPem, key: certificates.keyPem }, (request, response) => {
    void serve(request, response).catch((error: unknown) => {
      log.warn({ why: messageOf(error) }, 'a request was cut off');
      response.destroy();
    });
  });
  server.requestTimeout = requestTimeoutMs;
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const answered = await answerOrError(request, answer, log);
    write(request, response, answered);
  };
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function answerOrError(
  request: IncomingMessage,
  answer: (request: Omit<ArmRequest, 'parameters'>) => Promise<ArmAnswer>,
  log: Logger,
): Promise<ArmAnswer> {
  try {
    const url = new URL(request.url ?? '/', `https://${request.headers.host ?? 'localhost'}`);
    const body = parseBody(await readBody(request), request.headers['content-type']);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    return await answer({ method: request.method ?? 'GET', url, headers, body });
  } catch (error) {
    if (error instanceof ArmError) return { status: error.status, body: error.body, headers: error.headers };
    if (error instanceof SignInError) return { status: error.status, body: error.body };
    log.error({ err: error, path: request.url?.split('?')[0] }, 'a request failed');
    const failure = new ArmError(500, 'InternalServerError', 'Encountered an internal server error.');
    return { status: failure.status, body: failure.body };
  }
}

function write(request: IncomingMessage, response: ServerResponse, { status, body, headers }: ArmAnswer): void {
  const text = body === undefined || request.method === 'HEAD' ? '' : JSON.stringify(body);
  const clientId = request.headers['x-ms-client-request-id'];
  response.writeHead(status, {
    ...(text === '' ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-cache',
    'x-ms-request-id': randomUUID(),
    'x-ms-correlation-request-id': randomUUID(),
    ...(clientId === undefined ? {} : { 'x-ms-client-request-id': clientId }),
    ...headers,
  });
  response.end(text);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.byteLength;
    if (bytes > bodyBytesMax) {
      throw new ArmError(413, 'RequestContentTooLarge', `The request content is larger than ${bodyBytesMax} bytes.`, {
        headers: { connection: 'close' },
      });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function parseBody(bytes: Buffer, contentType: string | undefined): unknown {
  if (bytes.byteLength === 0) return undefined;
  const text = bytes.toString();
  if (contentType?.includes('x-www-form-urlencoded') === true) return text;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ArmError(
      400,
      'InvalidRequestContent',
      `The request content was invalid and could not be deserialized: ${messageOf(error)}`,
    );
  }
}
