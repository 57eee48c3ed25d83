import { z } from 'zod';
import type { TensorType } from '../../../shared/model/signature.ts';
import { type Feature, type RowSink, unusableBlob } from './collected-row.ts';

/** A line is never longer: a file that is none must not fill memory. */
const lineBytesMax = 64 * 1024 * 1024;

const rowSchema = z.record(z.string(), z.unknown());

/** What is read of a CloudEvent of Azure ML v2's collector. */
const eventSchema = z.object({
  specversion: z.literal('1.0'),
  time: z.string(),
  correlationid: z.string().default(''),
  xrequestid: z.string().default(''),
  data: z.union([z.array(rowSchema), rowSchema.transform((row) => [row])]),
});

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const newline = 10;

/**
 * Reads rows of JSON lines as Azure ML v2's collector writes them, a CloudEvent each.
 * @param types of the features, where the blob names them
 * @throws {FerryError} DATA_INCONSISTENT when it is no such file
 */
export async function readJsonLinesRows(
  content: AsyncIterable<Uint8Array>,
  blob: { readonly name: string; readonly types: readonly TensorType[] | undefined },
  sink: RowSink,
): Promise<void> {
  let columns: readonly string[] | undefined;
  let number = 0;
  for await (const line of linesOf(content, blob.name)) {
    number += 1;
    if (line.length === 0) continue;
    const parsed = eventSchema.safeParse(jsonIn(line));
    if (!parsed.success) throw unusableBlob(blob.name, `line ${number} is none`, 'a CloudEvent with rows in "data"');
    const { time, correlationid: correlationId, xrequestid: requestId, data } = parsed.data;
    for (const row of data) {
      const names = Object.keys(row);
      if (columns === undefined || !isSame(columns, names)) {
        columns = names;
        sink.setFeatures(featuresOf(names, blob.types));
      }
      sink.add({ correlationId, requestId, timestamp: time, cells: Object.values(row).map(cellOf) });
    }
  }
}

function featuresOf(names: readonly string[], types: readonly TensorType[] = []): Feature[] {
  // JavaScript moves names that are whole numbers to the front, so that places do not tell types then.
  const inOrder =
    types.length === names.length && (new Set(types).size === 1 || !names.some((name) => /^\d+$/.test(name)));
  return names.map((name, at) => ({ name, type: inOrder ? types[at] : undefined }));
}

/** A number that a double may not hold keeps its own digits. */
class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function jsonIn(line: Uint8Array): unknown {
  try {
    const text = utf8.decode(line);
    // Looking at every number costs several times what parsing does.
    return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? '';
  return /^-?\d+$/.test(source) ? new Digits(source) : value;
}

function cellOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return value instanceof Digits ? value.text : JSON.stringify(value);
}

async function* linesOf(content: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of content) {
    let from = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, from)) {
      pieces.push(piece.subarray(from, end));
      yield pieces.length === 1 ? piece.subarray(from, end) : Buffer.concat(pieces);
      pieces = [];
      length = 0;
      from = end + 1;
    }
    pieces.push(piece.subarray(from));
    length += piece.length - from;
    if (length > lineBytesMax) throw unusableBlob(name, `a line has over ${length} bytes`, `${lineBytesMax} at most`);
  }
  if (length > 0) yield Buffer.concat(pieces);
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, at) => name === other[at]);
}
