import type { IncomingMessage } from 'node:http';
import { FerryError } from '../../../shared/errors.ts';

/** Azure ML's routers refuse more. */
export const bodyBytesMax = 100 * 1024 * 1024;

/**
 * Reads a request's body. How long it may take is the server's `requestTimeout`.
 * @throws {FerryError} REQUEST_TOO_LARGE before it is read where the client says its length, else as soon as it is too much
 * @throws {FerryError} INTERRUPTED when the client goes
 */
export function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const said = Number(request.headers['content-length'] ?? 0);
  if (said > bodyBytesMax) return Promise.reject(tooLarge(`${said} bytes`));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > bodyBytesMax) {
        request.pause();
        reject(tooLarge('more'));
      } else chunks.push(chunk);
    });
    request.on('end', () => {
      const [only] = chunks;
      resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, bytes));
    });
    request.on('error', (cause) =>
      reject(new FerryError('INTERRUPTED', 'Cannot read the request: the client has gone', { cause })),
    );
  });
}

function tooLarge(found: string): FerryError {
  return new FerryError(
    'REQUEST_TOO_LARGE',
    `Cannot read the request: it has ${found}, at most ${bodyBytesMax} bytes were wanted`,
  );
}
