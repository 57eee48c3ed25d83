import { columnNames, type FeatureSet } from './feature-set.ts';
import type { RequestRows } from './row-block.ts';
import type { StreamIdentity } from './stream.ts';
import { isText, type TensorData } from './tensor.ts';
import { TextBuffer } from './text-buffer.ts';

/** Minutes that a folder of the blob path covers: a day. */
const boundaryMinutes = 1440;

/** The columns that follow the features, by the names that Azure ML's data collector gave them from 2019 on. */
const trailingColumns = [
  '$aml_dc_correlation_id',
  '$aml_dc_scoring_timestamp',
  '$aml_dc_boundary',
  '$aml_workspace',
  '$aml_service_name',
  '$aml_model_name',
  '$aml_model_version',
  '$aml_request_id',
];

const comma = 44;
const newline = 10;

/**
 * A CSV file of collected rows in Azure ML's later columns. The bytes depend on nothing but the rows and the stream, so
 * that a file that is made again after a crash is the same file.
 */
export class CsvFile {
  readonly #text = new TextBuffer(64 * 1024);
  readonly #constants: string;

  constructor(stream: StreamIdentity, features: FeatureSet) {
    const { workspace, service, model, version } = stream;
    this.#constants = [boundaryMinutes, workspace, service, model, version]
      .map((cell) => quoted(String(cell)))
      .join(',');
    this.#text.utf8(`${[...columnNames(features).map(quoted), ...trailingColumns].join(',')}\n`);
  }

  /** Appends the rows of one request. */
  append(request: RequestRows, features: FeatureSet): void {
    const text = this.#text;
    const { correlationId, requestId, scoredAtMs } = request;
    const ids = `${quoted(correlationId)},${timestamp(scoredAtMs)},${this.#constants},${quoted(requestId)}`;
    for (let row = 0; row < request.rows; row += 1) {
      for (const [index, { type, width }] of features.entries()) {
        const values = request.values[index] ?? [];
        for (let at = row * width; at < (row + 1) * width; at += 1) {
          if (type === 'float32') float32Cell(text, (values as Float32Array)[at] ?? Number.NaN);
          else text.utf8(cell(values, at, type));
          text.byte(comma);
        }
      }
      text.utf8(ids);
      text.byte(newline);
    }
  }

  /** Gives the whole file. */
  bytes(): Buffer {
    return this.#text.view();
  }
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

/** UTC with six digits of a second and `+00:00`, as Azure ML's collector writes it. */
function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000+00:00`;
}
