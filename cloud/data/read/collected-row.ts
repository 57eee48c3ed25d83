import type { TensorType } from '../../../shared/model/signature.ts';
import { FerryError } from '../../../shared/errors.ts';

/** A column of collected rows; its type is unknown where neither the file nor its metadata says one. */
export interface Feature {
  readonly name: string;
  readonly type: TensorType | undefined;
}

/** A row as it was collected. */
export interface CollectedRow {
  readonly correlationId: string;
  readonly requestId: string;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  /** Values of the features, in their order, as CSV writes them; null where there is none. */
  readonly cells: readonly (string | null)[];
}

/** Takes the rows of a blob. */
export interface RowSink {
  /** Called before the first row, and again before a row of other features. */
  readonly setFeatures: (features: readonly Feature[]) => void;
  readonly add: (row: CollectedRow) => void;
}

/** Makes the failure of a blob that is not what it should be; the message of `found` and `wanted` reads `<found>, <wanted> was wanted`. */
export function unusableBlob(name: string, found: string, wanted: string): FerryError {
  return new FerryError('DATA_INCONSISTENT', `Cannot use the blob "${name}": ${found}, ${wanted} was wanted`);
}
