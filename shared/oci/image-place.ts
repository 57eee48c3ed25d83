import type { Digest } from '../digest.ts';
import type { ManifestDocument } from './manifest.ts';
import type { Expected } from './verified.ts';

/** What every operation takes beside its own. */
export interface PlaceOptions {
  readonly signal: AbortSignal;
}

/** Where images and artifacts can be read from: a registry, or a layout on disk. */
export interface ImageSource {
  /** For messages: `the registry "localhost:5000"`. */
  readonly name: string;
  readManifest(repository: string, tagOrDigest: string, options: PlaceOptions): Promise<ManifestDocument | undefined>;
  /** Gives the bytes of a blob from `start` up to and without `end`. Where they are put they are checked, so that it is done once. */
  openBlob(
    repository: string,
    blob: Expected,
    range: { readonly start: number; readonly end: number },
    options: PlaceOptions,
  ): AsyncIterable<Uint8Array>;
}

/** Where images and artifacts can be put: a registry, or a layout on disk. */
export interface ImageDestination {
  /** For messages: `the registry "localhost:5000"`. */
  readonly name: string;
  /** Gives the digest of what a tag or digest stands for there, or undefined. */
  resolve(repository: string, tagOrDigest: string, options: PlaceOptions): Promise<Digest | undefined>;
  hasBlob(repository: string, digest: Digest, options: PlaceOptions): Promise<boolean>;
  /** Makes a blob of another repository there part of this one; gives false where that cannot be. */
  mountBlob(
    repository: string,
    blob: { readonly digest: Digest; readonly from: string },
    options: PlaceOptions,
  ): Promise<boolean>;
  /**
   * Takes a blob, unless its bytes have another digest or size.
   * @param open gives the bytes from `start` up to and without `end`, as often as it is asked
   */
  putBlob(
    repository: string,
    blob: Expected,
    open: (start: number, end: number) => AsyncIterable<Uint8Array>,
    options: PlaceOptions & { readonly onProgress: (bytes: number) => void },
  ): Promise<void>;
  putManifest(
    repository: string,
    tag: string | undefined,
    manifest: { readonly bytes: Uint8Array; readonly mediaType: string },
    options: PlaceOptions,
  ): Promise<void>;
}
