import type { FileHandle } from 'node:fs/promises';
import { csvLine } from '../csv-line.ts';
import type { JoinedRow } from '../row-stage.ts';
import { type DesignationColumns, featureCells, leadingColumns, type RowOutput } from './row-output.ts';

/** Text that is gathered before it is written: so little that it is gone again before it counts as old in memory. */
const pieceCharacters = 64 * 1024;

/** Joined rows as CSV: values as they were collected, nothing between two commas for what is missing. */
export class CsvOutput implements RowOutput {
  readonly #file: FileHandle;
  readonly #columns: readonly DesignationColumns[];
  #text: string;

  constructor(file: FileHandle, columns: readonly DesignationColumns[]) {
    this.#file = file;
    this.#columns = columns;
    const names = columns.flatMap(({ designation, features }) => features.map(({ name }) => `${designation}.${name}`));
    this.#text = csvLine([...leadingColumns, ...names]);
  }

  async add(row: JoinedRow): Promise<void> {
    const { correlationId, requestId, timestamp, service, model, version } = row;
    const cells = featureCells(row, this.#columns).map((cell) => cell ?? '');
    this.#text += csvLine([correlationId, requestId, timestamp, service, model, String(version), ...cells]);
    if (this.#text.length >= pieceCharacters) await this.finish();
  }

  async finish(): Promise<void> {
    await this.#file.writeFile(this.#text);
    this.#text = '';
  }
}
