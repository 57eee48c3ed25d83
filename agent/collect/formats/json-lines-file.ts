import { createHash } from 'node:crypto';
import { columnNames, type FeatureSet } from '../feature-set.ts';
import type { RequestRows } from '../row-block.ts';
import type { StreamIdentity } from '../stream.ts';
import { isText, type TensorData } from '../tensor.ts';
import { TextBuffer } from '../text-buffer.ts';
import type { CollectedFile, FileHead } from './collected-file.ts';

const comma = 44;
const newline = 10;

/** Type of the event, where Azure ML's word is not our designation's own. */
const eventTypes: Readonly<Partial<Record<string, string>>> = { predictions: 'outputs' };

/**
 * Collected rows as Azure ML v2's collector writes them: a CloudEvent for each request, one a line, its rows in `data`. Numbers
 * that JSON has none of are the texts `NaN`, `Infinity` and `-Infinity`, so that they can be told from what is missing.
 */
export class JsonLinesFile implements CollectedFile {
  readonly #lines = new TextBuffer(64 * 1024);
  readonly #data = new TextBuffer(16 * 1024);
  readonly #features: FeatureSet;
  readonly #name: string;
  readonly #version: number;
  readonly #constants: string;
  /** Beginnings of the columns of each feature: `"x_0":`. */
  readonly #keys: readonly (readonly string[])[];
  #events = 0;

  constructor({ stream, features, name }: FileHead) {
    this.#features = features;
    this.#name = name;
    this.#version = stream.version;
    const type = `azureml.inference.${eventTypes[stream.designation] ?? stream.designation}`;
    this.#constants = `"source":${JSON.stringify(sourceOf(stream))},"type":"${type}","datacontenttype":"application/json"`;
    const names = columnNames(features).map((column) => `${JSON.stringify(column)}:`);
    let from = 0;
    this.#keys = features.map(({ width }) => names.slice(from, (from += width)));
  }

  append(request: RequestRows): void {
    const data = this.#data;
    data.clear();
    for (let row = 0; row < request.rows; row += 1) {
      data.ascii(row === 0 ? '[' : ',');
      this.#row(request, row);
    }
    data.ascii(']');
    const id = eventId(this.#name, this.#events++);
    const { correlationId, requestId, scoredAtMs } = request;
    const size = data.length;
    this.#lines.utf8(
      `{"specversion":"1.0","id":"${id}",${this.#constants},"time":"${new Date(scoredAtMs).toISOString()}",` +
        `"collectdatatype":"pandas.core.frame.DataFrame","agent":"modelferry","modelversion":"${this.#version}",` +
        `"correlationid":${JSON.stringify(correlationId)},"xrequestid":${JSON.stringify(requestId)},` +
        `"contentrange":"bytes 0-${size - 1}/${size}","data":`,
    );
    this.#lines.bytes(data.view());
    this.#lines.ascii('}');
    this.#lines.byte(newline);
  }

  finish(): Uint8Array {
    return this.#lines.view();
  }

  #row(request: RequestRows, row: number): void {
    const data = this.#data;
    data.ascii('{');
    let first = true;
    for (const [index, { type, width }] of this.#features.entries()) {
      const values = request.values[index] ?? [];
      const keys = this.#keys[index] ?? [];
      for (let column = 0; column < width; column += 1) {
        if (!first) data.byte(comma);
        first = false;
        data.utf8(keys[column] ?? '');
        writeValue(data, values, { at: row * width + column, type });
      }
    }
    data.ascii('}');
  }
}

function writeValue(text: TextBuffer, values: TensorData, { at, type }: { at: number; type: string }): void {
  if (isText(values)) {
    text.utf8(JSON.stringify(values[at] ?? ''));
    return;
  }
  const value = values[at] ?? 0;
  if (type === 'bool') text.ascii(value === 0 ? 'false' : 'true');
  else if (typeof value === 'bigint') text.ascii(String(value));
  else if (!Number.isFinite(value)) text.ascii(`"${value}"`);
  else if (type === 'float32') text.float32(value);
  else text.number(value);
}

/** The resource that Azure ML v2 would name: a service is its endpoint, a model its deployment. */
function sourceOf({ workspace, service, model }: StreamIdentity): string {
  const [subscription = '', group = '', name = ''] = workspace.split('/');
  return (
    `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.MachineLearningServices` +
    `/workspaces/${name}/onlineEndpoints/${service}/deployments/${model}`
  );
}

/** A UUID that follows from the file's name and the place in it: CloudEvents wants an event that is sent again to keep its id. */
function eventId(name: string, place: number): string {
  const digits = createHash('sha256').update(`${name}#${place}`).digest('hex');
  const parts = [digits.slice(0, 8), digits.slice(8, 12), `8${digits.slice(13, 16)}`, `8${digits.slice(17, 20)}`];
  return [...parts, digits.slice(20, 32)].join('-');
}
