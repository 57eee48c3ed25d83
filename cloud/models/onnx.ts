import { basename } from 'node:path';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Signature, TensorSpec } from '../../shared/model/signature.ts';
import { guessFormat } from './foreign-formats.ts';
import { findExternalFiles } from './onnx-external.ts';
import { readTensor, type TensorProblem } from './onnx-tensor.ts';
import { findZipMaps } from './onnx-zipmap.ts';
import { type ByteRange, ProtobufFile, WireError, type WireField } from './protobuf-file.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const modelProto = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  domain: 4,
  modelVersion: 5,
  documentation: 6,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
} as const;
const graphProto = { name: 2, initializer: 5, input: 11, output: 12, sparseInitializer: 15 } as const;
const tensorProto = { name: 8 } as const;
const sparseTensorProto = { values: 1 } as const;
/** OperatorSetIdProto and StringStringEntryProto both have their name in field 1 and its value in field 2. */
const entryProto = { key: 1, value: 2 } as const;

/** Most entries that are read of anything that repeats; a model with more is broken or hostile. */
const entriesMax = 1_000_000;

/** What an ONNX file says about itself; nothing of it was run. */
export interface OnnxModel {
  readonly signature: Signature;
  /** Outputs whose shape the file does not tell; `[]` stands for it in the signature. */
  readonly shapelessOutputs: readonly string[];
  /** Outputs that a ZipMap gives, which are missing in the signature: the model can be served without these operators only. */
  readonly zipMaps: readonly string[];
  /** Version of the file format. @see https://onnx.ai/onnx/repo-docs/IR.html */
  readonly irVersion: number;
  /** Version of the operator set, by domain; ONNX's own domain is `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: { readonly name: string; readonly version: string };
  readonly graphName: string;
  readonly domain: string;
  readonly modelVersion: number;
  readonly documentation: string;
  /** The file's `metadata_props`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Files beside this one that hold weights, as the file names them, sorted. */
  readonly externalFiles: readonly string[];
}

/**
 * Reads what an ONNX file says about itself without running it and without reading its weights.
 * @throws {FerryError} FILE_UNREADABLE when there is no such file or it cannot be read
 * @throws {FerryError} MODEL_INVALID when it is no ONNX model, is damaged, or takes or gives what the scoring server cannot serve
 */
export function readOnnx(path: string): OnnxModel {
  const subject = `"${basename(path)}" as an ONNX model`;
  try {
    using file = new ProtobufFile(path);
    return readModel(file, subject);
  } catch (cause) {
    if (cause instanceof WireError) throw damagedModel(path, cause);
    const code = systemCodeOf(cause);
    if (cause instanceof FerryError || code === undefined) throw cause;
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${path}": ${code}`, { cause });
  }
}

/** Gives the error to throw for a file that is no ONNX model. */
export function damagedModel(path: string, { message, offset }: WireError): FerryError {
  const foreign = guessFormat(path);
  const found = foreign === undefined ? `${message}, at byte ${offset}` : `it is ${foreign}`;
  return new FerryError('MODEL_INVALID', `Cannot read "${basename(path)}" as an ONNX model: ${found}`);
}

function readModel(file: ProtobufFile, subject: string): OnnxModel {
  if (file.whole.end === 0) throw new WireError('the file is empty', 0);
  const fields = group(file, file.whole);
  const graphs = fields.get(modelProto.graph) ?? [];
  const irVersion = lastInteger(fields, modelProto.irVersion);
  if (irVersion < 1) throw new WireError('it has no version of the format (field 1)', 0);
  if (graphs.length === 0) throw new WireError('it has no graph (field 7)', file.whole.end);
  const text = (number: number): string => lastText(file, fields, number);
  const opsets = entries(file, fields.get(modelProto.opsetImport), (field) => Number(field.integer));
  return {
    ...readGraph(file, graphs, subject),
    externalFiles: findExternalFiles(file),
    irVersion,
    opsets: Object.fromEntries(opsets.map(([domain, version = 1]) => [domain === '' ? 'ai.onnx' : domain, version])),
    producer: { name: text(modelProto.producerName), version: text(modelProto.producerVersion) },
    domain: text(modelProto.domain),
    modelVersion: lastInteger(fields, modelProto.modelVersion),
    documentation: text(modelProto.documentation),
    metadata: Object.fromEntries(
      entries(file, fields.get(modelProto.metadataProps), (field) => file.text(field)).map(([key, value]) => [
        key,
        value ?? '',
      ]),
    ),
  };
}

/** Reads a graph; protobuf allows it in pieces, whose fields then belong together. */
function readGraph(
  file: ProtobufFile,
  pieces: readonly ByteRange[],
  subject: string,
): Pick<OnnxModel, 'signature' | 'shapelessOutputs' | 'zipMaps' | 'graphName'> {
  const fields = group(file, ...pieces);
  const weights = [
    ...(fields.get(graphProto.initializer) ?? []),
    ...(fields.get(graphProto.sparseInitializer) ?? []).flatMap(
      (sparse) => group(file, sparse).get(sparseTensorProto.values) ?? [],
    ),
  ];
  // Before version 4 of the format every initializer was listed as an input too: a default, nothing to be given.
  const initialized = new Set(weights.map((tensor) => lastText(file, group(file, tensor), tensorProto.name)));
  const zipMaps = pieces.flatMap((piece) => findZipMaps(file, piece)).map(({ output }) => output);
  const problems: string[] = [];
  const shapelessOutputs: string[] = [];
  const tensors = (number: number, role: 'input' | 'output'): TensorSpec[] =>
    (fields.get(number) ?? []).flatMap((value) => {
      const tensor = readTensor(file, value);
      if (initialized.has(tensor.name) && role === 'input') return [];
      if (zipMaps.includes(tensor.name) && role === 'output') return [];
      if (!('problem' in tensor) && tensor.shape !== undefined) return [tensor];
      if ('problem' in tensor) problems.push(problemText(role, tensor));
      else if (role === 'input')
        problems.push(`input "${tensor.name}" has no shape, a number of dimensions was wanted`);
      else shapelessOutputs.push(tensor.name);
      return 'problem' in tensor ? [] : [{ ...tensor, shape: [] }];
    });
  const signature = { inputs: tensors(graphProto.input, 'input'), outputs: tensors(graphProto.output, 'output') };
  if (problems.length === 0 && signature.outputs.length + zipMaps.length === 0) problems.push('it has no output');
  if (problems.length > 0) {
    throw new FerryError('MODEL_INVALID', `Cannot serve ${subject}: ${problems.join('; ')}`, {
      next: 'Convert the model again so that it takes and gives plain tensors.',
    });
  }
  return {
    signature,
    shapelessOutputs,
    zipMaps,
    graphName: lastText(file, fields, graphProto.name),
  };
}

/** Puts a message's fields together by number, each in the order of the file. */
function group(file: ProtobufFile, ...messages: readonly ByteRange[]): Map<number, WireField[]> {
  const groups = new Map<number, WireField[]>();
  for (const message of messages) {
    for (const field of file.fields(message)) {
      const before = groups.get(field.number);
      if (before === undefined) groups.set(field.number, [field]);
      else if (before.push(field) > entriesMax) {
        throw new WireError(`field ${field.number} is there more than ${entriesMax} times`, field.start);
      }
    }
  }
  return groups;
}

/** Where a field is there several times, the last one counts. @see https://protobuf.dev/programming-guides/encoding/#last-one-wins */
function lastText(file: ProtobufFile, fields: ReadonlyMap<number, readonly WireField[]>, number: number): string {
  const field = fields.get(number)?.at(-1);
  return field === undefined ? '' : file.text(field);
}

function lastInteger(fields: ReadonlyMap<number, readonly WireField[]>, number: number): number {
  return Number(fields.get(number)?.at(-1)?.integer ?? 0n);
}

function entries<T>(
  file: ProtobufFile,
  messages: readonly ByteRange[] | undefined,
  read: (field: WireField) => T,
): [string, T | undefined][] {
  return (messages ?? []).map((message) => {
    const fields = group(file, message);
    const value = fields.get(entryProto.value)?.at(-1);
    return [lastText(file, fields, entryProto.key), value === undefined ? undefined : read(value)];
  });
}

function problemText(role: string, { name, problem }: TensorProblem): string {
  return `${role} "${name}" ${problem}`;
}
