import type { Duplex } from 'node:stream';
import { FerryError } from '../errors.ts';
import { mediaTypes } from './media-types.ts';

/**
 * Gives what turns the bytes of a layer into those of its tar; undefined where they are that already.
 * @throws {FerryError} IMAGE_INVALID when the media type is that of no layer
 */
export function decompressor(mediaType: string): Duplex | undefined {
  switch (mediaType) {
    case mediaTypes.layer:
      return undefined;
    case mediaTypes.layerGzip:
    case mediaTypes.dockerLayerGzip:
      return process.getBuiltinModule('node:zlib').createGunzip();
    case mediaTypes.layerZstd:
      return process.getBuiltinModule('node:zlib').createZstdDecompress();
    default:
      throw new FerryError(
        'IMAGE_INVALID',
        `Cannot unpack a layer: its media type is "${mediaType}", a tar layer was wanted`,
      );
  }
}
