import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server that answers as a test says, and remembers what it was asked. */
export interface MisbehavingRegistry extends AsyncDisposable {
  readonly host: string;
  /** Method and path of each request, in their order. */
  readonly asked: readonly string[];
}

export async function startMisbehaving(listener: RequestListener): Promise<MisbehavingRegistry> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `localhost:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Reads a request's body. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  return Buffer.concat(await (request as AsyncIterable<Buffer> & IncomingMessage).toArray()).toString();
}
