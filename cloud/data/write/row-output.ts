import type { TensorType } from '../../../shared/model/signature.ts';
import type { Designation } from '../blob-path.ts';
import type { JoinedRow } from '../row-stage.ts';

/** Columns before the features, the same for every row. */
export const leadingColumns = ['correlation_id', 'request_id', 'timestamp', 'service', 'model', 'version'] as const;

/** The features of one designation, which are columns of the file. */
export interface DesignationColumns {
  readonly designation: Designation;
  readonly features: readonly { readonly name: string; readonly type: TensorType | undefined }[];
}

/** Writes joined rows into a file that is open for it. */
export interface RowOutput {
  add(row: JoinedRow): Promise<void>;
  /** Writes what is left; the file is whole then, but not synced. */
  finish(): Promise<void>;
}

/** Gives the values of a row's features in the order of the columns; null where there is none. */
export function featureCells(row: JoinedRow, columns: readonly DesignationColumns[]): (string | null)[] {
  return columns.flatMap(({ designation, features: wanted }) => {
    const found = row.cells[designation];
    if (found === undefined) return wanted.map(() => null);
    const { features, values } = found;
    // Nearly always a designation has one set of features only.
    if (features.length === wanted.length && features.every(({ name }, at) => name === wanted[at]?.name)) return values;
    const byName = new Map(features.map(({ name }, at) => [name, values[at] ?? null]));
    return wanted.map(({ name }) => byName.get(name) ?? null);
  });
}
