import { leadingColumns2018, trailingColumns } from '../../../shared/collect/csv-columns.ts';
import { columnNames, type FeatureSet } from '../feature-set.ts';
import type { RequestRows } from '../row-block.ts';
import { isText, type TensorData } from '../tensor.ts';
import { TextBuffer } from '../text-buffer.ts';
import { boundaryMinutes, type CollectedFile, type FileHead, timestampOf } from './collected-file.ts';

const comma = 44;
const newline = 10;

/** What stands before and behind the features of each row of a request; either may be empty. */
type Surroundings = (request: RequestRows) => { readonly before: string; readonly behind: string };

/** Collected rows as CSV, with Azure ML's columns. */
export class CsvFile implements CollectedFile {
  readonly #text = new TextBuffer(64 * 1024);
  readonly #features: FeatureSet;
  readonly #surroundings: Surroundings;

  constructor({ features, stream, folder }: FileHead, columns: '2018' | 'later') {
    this.#features = features;
    const names = columnNames(features).map(quoted);
    if (columns === '2018') {
      this.#surroundings = surroundings2018;
      this.#text.utf8(`${[...leadingColumns2018, ...names].join(',')}\n`);
    } else {
      const { workspace, service, model, version } = stream;
      const cells = [boundaryMinutes[folder], workspace, service, model, version];
      this.#surroundings = laterSurroundings(cells.map((cell) => quoted(String(cell))).join(','));
      this.#text.utf8(`${[...names, ...trailingColumns].join(',')}\n`);
    }
  }

  append(request: RequestRows): void {
    const text = this.#text;
    const { before, behind } = this.#surroundings(request);
    for (let row = 0; row < request.rows; row += 1) {
      text.utf8(before);
      let first = true;
      for (const [index, { type, width }] of this.#features.entries()) {
        const values = request.values[index] ?? [];
        for (let at = row * width; at < (row + 1) * width; at += 1) {
          if (!first) text.byte(comma);
          first = false;
          if (type === 'float32') float32Cell(text, (values as Float32Array)[at] ?? Number.NaN);
          else text.utf8(cell(values, at, type));
        }
      }
      text.utf8(first ? behind.slice(1) : behind);
      text.byte(newline);
    }
  }

  finish(): Uint8Array {
    return this.#text.view();
  }
}

function surroundings2018({ scoredAtMs, correlationId, requestId }: RequestRows): ReturnType<Surroundings> {
  return { before: `${timestampOf(scoredAtMs)},${quoted(correlationId)},${quoted(requestId)},`, behind: '' };
}

function laterSurroundings(constants: string): Surroundings {
  return ({ correlationId, requestId, scoredAtMs }) => ({
    before: '',
    behind: `,${quoted(correlationId)},${timestampOf(scoredAtMs)}+00:00,${constants},${quoted(requestId)}`,
  });
}

function float32Cell(text: TextBuffer, value: number): void {
  if (Number.isFinite(value)) text.float32(value);
  else text.ascii(String(value));
}

function cell(values: TensorData, at: number, type: string): string {
  if (isText(values)) return quoted(values[at] ?? '');
  const value = values[at];
  if (type === 'bool') return value === 0 ? 'False' : 'True';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** RFC 4180: quotes around what holds a comma, a quote or a line break; quotes within are doubled. */
function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
