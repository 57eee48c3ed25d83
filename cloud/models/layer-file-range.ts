import { closeSync, openSync, readSync } from 'node:fs';
import { FerryError } from '../../shared/errors.ts';
import type { Model } from './model.ts';
import type { ByteRange } from './protobuf-file.ts';

// POSIX pax, "ustar Interchange Format"
const blockBytes = 512;
const sizeAt = { start: 124, end: 136 } as const;
const typeAt = 156;
/** A regular file; folders, and what tells the long name of the file behind it, have other types. */
const regularFile = '0';

/**
 * Finds where the main file of a model lies in its layer, which is a tar that is not compressed.
 * @param path of the layer's file
 * @throws {FerryError} WORKSPACE_CORRUPT when it is not there
 */
export function layerFileRange(path: string, { name, version, mainPath, files }: Model): ByteRange {
  // A layer has its files in the order of their paths' bytes.
  const paths = files
    .map((file) => Buffer.from(`/models/${name}/${file.path}`))
    .toSorted((left, right) => left.compare(right));
  let before = paths.findIndex((file) => file.equals(Buffer.from(mainPath)));
  const layer = openSync(path, 'r');
  try {
    const header = Buffer.alloc(blockBytes);
    for (let at = 0; before >= 0 && readSync(layer, header, 0, blockBytes, at) === blockBytes;) {
      const size = sizeIn(header);
      const start = at + blockBytes;
      if (header.toString('latin1', typeAt, typeAt + 1) === regularFile) {
        if (before === 0) return { start, end: start + size };
        before -= 1;
      }
      if (header.every((byte) => byte === 0)) break;
      at = start + Math.ceil(size / blockBytes) * blockBytes;
    }
  } finally {
    closeSync(layer);
  }
  throw new FerryError(
    'WORKSPACE_CORRUPT',
    `Cannot read "${name}:${version}": its layer "${path}" has no "${mainPath}"`,
  );
}

/** Octal digits; or base 256 where the first bit is set, for sizes beyond 8 GiB. */
function sizeIn(header: Buffer): number {
  const field = header.subarray(sizeAt.start, sizeAt.end);
  const [first = 0] = field;
  if (first < 128) return Number.parseInt(field.toString('latin1'), 8) || 0;
  return field.subarray(1).reduce((size, byte) => size * 256 + byte, 0);
}
