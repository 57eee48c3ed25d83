import { FerryError } from '../../../shared/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { Exchange } from './exchange.ts';

/** How many bytes a request may have, and all of them together. */
export interface BodyLimits {
  readonly bodyBytesMax: number;
  readonly budget: ByteBudget;
}

/**
 * Reads a request's body. How long it may take is the server's `requestTimeout`.
 * @throws {FerryError} REQUEST_TOO_LARGE before it is read where the client says its length, else as soon as it is too much
 * @throws {FerryError} OVERLOADED as soon as all requests together are too much
 * @throws {FerryError} INTERRUPTED when the client goes
 */
export function readBody(exchange: Exchange, { bodyBytesMax, budget }: BodyLimits): Promise<Uint8Array> {
  const { request } = exchange;
  const said = Number(request.headers['content-length'] ?? 0);
  if (said > bodyBytesMax) return Promise.reject(tooLarge(`${said} bytes`, bodyBytesMax));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const refuse = (error: unknown): void => {
      request.pause();
      chunks.length = 0;
      reject(error);
    };
    request.on('data', (chunk: Buffer) => {
      // Given back with the answer: until then the model reads from it.
      exchange.heldBytes += chunk.byteLength;
      chunks.push(chunk);
      try {
        budget.take(chunk.byteLength);
        if (exchange.heldBytes > bodyBytesMax) refuse(tooLarge('more', bodyBytesMax));
      } catch (error) {
        refuse(error);
      }
    });
    request.on('end', () => {
      const [only] = chunks;
      resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, exchange.heldBytes));
    });
    request.on('error', (cause) =>
      reject(new FerryError('INTERRUPTED', 'Cannot read the request: the client has gone', { cause })),
    );
  });
}

function tooLarge(found: string, bodyBytesMax: number): FerryError {
  return new FerryError(
    'REQUEST_TOO_LARGE',
    `Cannot read the request: it has ${found}, at most ${bodyBytesMax} bytes were wanted`,
  );
}
