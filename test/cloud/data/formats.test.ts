import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectFormats, type CollectFolder, type CollectFormat } from '../../../shared/collect/file-settings.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import { CollectBuffer } from '../../../agent/collect/buffer.ts';
import { openBuffer } from '../../../agent/collect/buffer-file.ts';
import { columnNames, type Feature } from '../../../agent/collect/feature-set.ts';
import { RowBlock } from '../../../agent/collect/row-block.ts';
import { allocate, bytesOf, type Tensor, type TensorData } from '../../../agent/collect/tensor.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { pullData } from '../../../cloud/data/pull.ts';
import { Random } from '../../random.ts';
import { type Azurite, startAzurite } from './azurite.ts';

const scope = '00000000-0000-0000-0000-000000000000/local/lab';
const stream = { workspace: scope, service: 'digits', model: 'mlp', version: 3, designation: 'inputs' } as const;
const hour = Math.floor(Date.UTC(2026, 10, 22, 9) / 3_600_000);
const rounds = Number(process.env['FORMAT_ROUNDS'] ?? 6);

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

/** One request of one feature set. */
interface Request {
  readonly features: readonly Feature[];
  readonly rows: number;
  readonly tensors: readonly Tensor[];
  readonly correlationId: string;
  readonly requestId: string;
  readonly scoredAtMs: number;
}

/** Collects requests into a buffer, drains it into a new container, and gives what pulls from there. */
async function openRig(format: CollectFormat, requests: readonly Request[], folder: CollectFolder = 'day') {
  await using stack = new AsyncDisposableStack();
  const data = stack.use(await azurite.newWorkspace());
  const { blobs, container } = data;
  const databasePath = join(data.folder, 'collect.db');
  const buffer = new CollectBuffer(openBuffer(databasePath), {
    quota: { bytesMax: 1e9, policy: 'reject-new' },
    files: { format, folder },
  });
  for (const request of requests) {
    const block = new RowBlock();
    block.append(request, request.rows, request.tensors);
    buffer.append([{ stream, features: request.features, hour, rows: request.rows, packed: block.finish() }], []);
  }
  buffer.close();
  const names: string[] = [];
  await drainBuffer({
    databasePath,
    destination: {
      upload: async ({ name, content, contentType, metadata }) => {
        names.push(name);
        const options = { metadata, blobHTTPHeaders: { blobContentType: contentType } };
        await blobs.getBlockBlobClient(name).upload(content, content.byteLength, options);
      },
    },
    seal: 'all',
    signal: AbortSignal.timeout(20_000),
  });
  const keep = stack.move();
  return {
    names,
    container,
    pull: async (file: string) => {
      const out = join(data.folder, file);
      const options = { scope, filter: {}, out, skipDamaged: false, onProgress: () => {} };
      const report = await pullData(container, { ...options, signal: AbortSignal.timeout(20_000) });
      return { report, content: await readFile(out) };
    },
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}

const types = ['float32', 'float64', 'int64', 'uint64', 'int8', 'uint32', 'bool', 'string', 'float16'] as const;
const texts = [
  '',
  'plain',
  'a,b',
  'say "hi"',
  'two\nlines',
  'cr\r\nlf',
  ' padded ',
  'ünï🙂',
  '\uFEFFmark',
  'NaN',
  '-0',
  '007',
] as const;
const oddNames = ['x', 'x_0', 'a,b', 'q"uote', 'new\nline', 'ü', '$aml_other', 'with space', 'dot.ted'];

function randomRequests(random: Random): Request[] {
  const features = oddNames
    .filter(() => !random.oneIn(3))
    .map((name): Feature => ({ name, type: random.pick(types), width: random.below(4) }));
  if (features.every(({ width }) => width === 0)) features.push({ name: 'y', type: 'float32', width: 2 });
  return Array.from({ length: 1 + random.below(6) }, (_, at) => {
    const rows = 1 + random.below(4);
    return {
      features,
      rows,
      tensors: features.map(({ name, type, width }) => ({
        name,
        type,
        shape: [rows, width],
        data: randomData(random, type, rows * width),
      })),
      correlationId: `c${at},"odd"`,
      requestId: `r${at}`,
      scoredAtMs: hour * 3_600_000 + at * 1000 + 7,
    };
  });
}

/** Any bits at all, and with them every special number. */
function randomData(random: Random, type: TensorType, length: number): TensorData {
  if (type === 'string') return Array.from({ length }, () => random.pick(texts));
  const data = allocate(type, length);
  const bytes = bytesOf(data);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = random.below(256);
  if (type === 'bool') for (let at = 0; at < length; at += 1) data[at] = random.below(2);
  const special = [Number.NaN, Infinity, -Infinity, -0, 0, 0.1, 16_777_217, 1e-45] as const;
  if (type.startsWith('float')) for (let at = 0; at < length; at += 2) data[at] = random.pick(special);
  return data;
}

/** What the rows of requests hold, by column, in a form that tells -0 from 0. */
function valuesOf(requests: readonly Request[]): unknown[][] {
  return requests.flatMap(({ rows, features, tensors }) =>
    Array.from({ length: rows }, (_, row) =>
      features.flatMap(({ type, width }, feature) =>
        Array.from({ length: width }, (__, column) => {
          const value = tensors[feature]?.data[row * width + column];
          return type === 'bool' ? value === 1 : value;
        }),
      ),
    ),
  );
}

test.each(collectFormats)('what was collected as %s comes back to the bit, as Parquet and as CSV', async (format) => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
  const random = new Random(seed);
  for (let round = 0; round < rounds; round += 1) {
    const requests = randomRequests(random);
    const features = requests[0]?.features ?? [];
    const columns = columnNames(features).map((name) => `inputs.${name}`);
    const columnTypes = features.flatMap(({ type, width }) => Array.from({ length: width }, () => type));
    const expected = valuesOf(requests);
    await using rig = await openRig(format, requests);
    const parquet = await rig.pull('rows.parquet');
    expect(parquet.report, `seed ${seed}`).toMatchObject({
      inputs: expected.length,
      missing: 0,
      unchecked: 0,
      findings: [],
    });
    const rows = await parquetReadObjects({
      file: new Uint8Array(parquet.content).buffer,
      compressors: { ZSTD: (input) => zstdDecompressSync(input) },
      parsers: { stringFromBytes: (bytes) => bytes && new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) },
    });
    expect(
      rows.map((row) => columns.map((name) => row[name] as unknown)),
      `seed ${seed} ${format}`,
    ).toEqual(expected);
    const csv = await rig.pull('rows.csv');
    const [header = [], ...lines] = parse(csv.content, { bom: false });
    expect(header.slice(6)).toEqual(columns);
    const read = lines.map((line) => line.slice(6).map((text, at) => valueOf(text, columnTypes[at] ?? 'string')));
    expect(read, `seed ${seed} ${format}`).toEqual(expected);
    expect(lines.map((line) => line.slice(0, 3))).toEqual(
      requests.flatMap(({ rows: count, correlationId, requestId, scoredAtMs }) =>
        Array.from({ length: count }, () => [
          correlationId,
          requestId,
          new Date(scoredAtMs).toISOString().replace('Z', '000+00:00'),
        ]),
      ),
    );
  }
});

function valueOf(text: string, type: TensorType): unknown {
  if (type === 'string') return text;
  if (type === 'bool') return text === 'True';
  if (type === 'int64' || type === 'uint64') return BigInt(text);
  return type === 'float32' ? Math.fround(Number(text)) : Number(text);
}
