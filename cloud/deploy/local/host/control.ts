import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { messageOf } from '../../../../shared/errors.ts';
import type { ServiceHost } from './service-host.ts';

/** What can be asked of a host. */
export interface ControlOptions {
  readonly host: ServiceHost;
  /** Reads what is wanted again. */
  readonly reload: () => Promise<void>;
  /** Ends the service, its replicas and the host. */
  readonly stop: () => Promise<void>;
}

/** Answers `ferry` on a socket file that its owner alone can open. */
export async function openControl(path: string, options: ControlOptions): Promise<AsyncDisposable> {
  await rm(path, { force: true });
  const server = createServer((request, response) => {
    answer(request, options).then(
      (document) => end(response, 200, document),
      (error: unknown) => end(response, 500, { message: messageOf(error) }),
    );
  });
  const before = process.umask(0o077);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(request: IncomingMessage, { host, reload, stop }: ControlOptions): Promise<unknown> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://host');
  switch (`${request.method} ${pathname}`) {
    case 'GET /status':
      return host.status();
    case 'GET /logs': {
      const [tail, sinceMs] = [Number(searchParams.get('tail')), Number(searchParams.get('since'))];
      return host.logs({ ...(tail > 0 && { tail }), ...(sinceMs > 0 && { sinceMs }) });
    }
    case 'POST /reload':
      await reload();
      return host.status();
    case 'POST /stop':
      await stop();
      return {};
    default:
      throw new Error('There is no such question');
  }
}

function end(response: ServerResponse, status: number, document: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
}
