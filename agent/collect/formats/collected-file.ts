import type { CollectFolder } from '../../../shared/collect/file-settings.ts';
import type { FeatureSet } from '../feature-set.ts';
import type { RequestRows } from '../row-block.ts';
import type { StreamIdentity } from '../stream.ts';

/** What all rows of a file share. */
export interface FileHead {
  readonly stream: StreamIdentity;
  readonly features: FeatureSet;
  readonly folder: CollectFolder;
  /** Name of the blob; no other file has it. */
  readonly name: string;
}

/**
 * A file of collected rows in the making. Its bytes follow from its head and its rows alone, never from the time or the
 * machine, so that a file that is made again after a crash is the same file.
 */
export interface CollectedFile {
  /** Appends the rows of one request. */
  append(request: RequestRows): void;
  /** Gives the whole file; nothing is appended after it. */
  finish(): Uint8Array;
}

/** Azure ML's own figure for what a folder covers, in minutes. */
export const boundaryMinutes: Readonly<Record<CollectFolder, number>> = { day: 1440, hour: 60 };

/** UTC with six digits of a second, as Azure ML's collector writes it, without a zone. */
export function timestampOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000`;
}
