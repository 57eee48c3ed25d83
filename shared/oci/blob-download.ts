import { FerryError, isFerryError } from '../errors.ts';
import { attemptsMax, isRetryableFailure } from './registry-retries.ts';
import type { RegistryTransport } from './registry-transport.ts';
import type { Expected } from './verified.ts';

/** The settings of {@link downloadBlob}. */
export interface DownloadOptions {
  /** First byte that is wanted. @default 0 */
  readonly start?: number;
  readonly signal?: AbortSignal;
}

/**
 * Gives the bytes of a blob as they come, going on with a range request after a break. They are not checked here: see `verified`.
 * @throws {FerryError} IMAGE_NOT_FOUND when the repository has no such blob
 * @throws {FerryError} REGISTRY_UNREACHABLE when it breaks off again and again without a byte in between
 */
export async function* downloadBlob(
  transport: RegistryTransport,
  target: { readonly repository: string; readonly blob: Expected },
  options: DownloadOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const { size } = target.blob;
  let position = options.start ?? 0;
  let failures = 0;
  while (position < size) {
    const before = position;
    try {
      for await (const piece of piecesFrom(transport, target, position, options.signal)) {
        position += piece.byteLength;
        yield piece;
      }
      // What ends early without a failure is no break: who checks it will say that it is too short.
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      failures = position > before ? 1 : failures + 1;
      const isBreak = isRetryableFailure(error) && !isFerryError(error);
      if (!isBreak) throw error;
      if (failures < attemptsMax) {
        await transport.waitToRetry(failures - 1, error, options.signal);
        continue;
      }
      throw new FerryError(
        'REGISTRY_UNREACHABLE',
        `Cannot pull "${target.blob.digest}": the registry "${transport.host}" broke off ${failures} times, at byte ${position} of ${size}`,
        { cause: error },
      );
    }
  }
}

async function* piecesFrom(
  transport: RegistryTransport,
  { repository, blob }: { readonly repository: string; readonly blob: Expected },
  start: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  using response = await transport.send({
    doing: `pull "${blob.digest}" of "${repository}"`,
    method: 'GET',
    target: `${repository}/blobs/${blob.digest}`,
    scope: `repository:${repository}:pull`,
    statuses: [200, 206, 404],
    ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` } }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.status === 404) {
    const message = `Cannot pull "${blob.digest}": "${transport.host}/${repository}" has no such blob`;
    throw new FerryError('IMAGE_NOT_FOUND', message);
  }
  // A registry that knows no ranges sends it all once more.
  let skip = response.status === 206 ? start - firstByteOf(response.header('content-range')) : start;
  if (skip < 0)
    throw new FerryError('REGISTRY_REFUSED', `Cannot pull "${blob.digest}": another range was sent than asked for`);
  for await (const piece of response.pieces()) {
    const rest = skip === 0 ? piece : piece.subarray(skip);
    skip = Math.max(0, skip - piece.byteLength);
    if (rest.byteLength > 0) yield rest;
  }
}

function firstByteOf(contentRange: string | undefined): number {
  return Number(/^bytes (\d+)-/.exec(contentRange ?? '')?.[1] ?? 0);
}
