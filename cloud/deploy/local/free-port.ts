import { once } from 'node:events';
import { createServer } from 'node:net';

/** Finds a port that nobody listens on now. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  await using server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}
