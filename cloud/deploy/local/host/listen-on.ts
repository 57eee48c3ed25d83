import { once } from 'node:events';
import type { Server } from 'node:net';
import { FerryError, systemCodeOf } from '../../../../shared/errors.ts';

/**
 * Has a server listen, on a port that nobody else has.
 * @throws {FerryError} PORT_IN_USE or PORT_UNUSABLE
 */
export async function listenOn(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw portError({ host, port }, cause, systemCodeOf(cause));
  }
}

/** Says why a port cannot be had. */
export function portError(
  { host, port }: { readonly host: string; readonly port: number },
  cause: unknown,
  code: string | undefined,
): FerryError {
  const isTaken = code === 'EADDRINUSE';
  const found = isTaken ? 'another program listens there' : 'it cannot be listened on';
  return new FerryError(isTaken ? 'PORT_IN_USE' : 'PORT_UNUSABLE', `Cannot serve on ${host}:${port}: ${found}`, {
    cause,
  });
}
