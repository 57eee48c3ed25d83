import type { Json } from '../objects.ts';
import { ApiError, badRequest } from '../status.ts';

/** The media type in which clients written in Go send the kinds that they know. */
export const protobufType = 'application/vnd.kubernetes.protobuf';

/** How a field is written: a text, a number, bytes (base64 in JSON), a message, a map of texts, or one of these several times. */
type Shape =
  | 'text'
  | 'number'
  | 'bytes'
  | 'skip'
  | { readonly message: Message }
  | { readonly map: 'text' | 'bytes' | { readonly message: Message } }
  | { readonly list: 'text' | { readonly message: Message } }
  /** A message that stands for one of its fields. */
  | { readonly value: 'quantity' | 'intOrString' };

/** Fields by their numbers. */
type Message = Readonly<Record<number, readonly [name: string, shape: Shape]>>;

const texts = { map: 'text' } as const;
const quantities = { map: { message: { 1: ['', 'text'] } } } as const;
const metadata: Message = {
  1: ['name', 'text'],
  2: ['generateName', 'text'],
  3: ['namespace', 'text'],
  5: ['uid', 'text'],
  6: ['resourceVersion', 'text'],
  11: ['labels', texts],
  12: ['annotations', texts],
};
const selector: Message = { 1: ['matchLabels', texts] };
const target: Message = {
  1: ['type', 'text'],
  2: ['value', { value: 'quantity' }],
  3: ['averageValue', { value: 'quantity' }],
  4: ['averageUtilization', 'number'],
};
const resourceMetric: Message = { 1: ['name', 'text'], 2: ['target', { message: target }] };

/**
 * The kinds that `kubectl create`, `scale`, `autoscale` and `auth` send so. The numbers are those of Kubernetes' `generated.proto`, and are
 * never changed there.
 */
const kinds: Readonly<Record<string, Message>> = {
  Namespace: { 1: ['metadata', { message: metadata }] },
  ConfigMap: { 1: ['metadata', { message: metadata }], 2: ['data', texts], 3: ['binaryData', { map: 'bytes' }] },
  Secret: {
    1: ['metadata', { message: metadata }],
    2: ['data', { map: 'bytes' }],
    3: ['type', 'text'],
    4: ['stringData', texts],
  },
  ServiceAccount: { 1: ['metadata', { message: metadata }] },
  ResourceQuota: {
    1: ['metadata', { message: metadata }],
    2: ['spec', { message: { 1: ['hard', quantities], 2: ['scopes', { list: 'text' }] } }],
  },
  PodDisruptionBudget: {
    1: ['metadata', { message: metadata }],
    2: [
      'spec',
      {
        message: {
          1: ['minAvailable', { value: 'intOrString' }],
          2: ['selector', { message: selector }],
          3: ['maxUnavailable', { value: 'intOrString' }],
        },
      },
    ],
  },
  HorizontalPodAutoscaler: {
    1: ['metadata', { message: metadata }],
    2: [
      'spec',
      {
        message: {
          1: ['scaleTargetRef', { message: { 1: ['kind', 'text'], 2: ['name', 'text'], 3: ['apiVersion', 'text'] } }],
          2: ['minReplicas', 'number'],
          3: ['maxReplicas', 'number'],
          4: ['metrics', { list: { message: { 1: ['type', 'text'], 4: ['resource', { message: resourceMetric }] } } }],
        },
      },
    ],
  },
  Scale: { 1: ['metadata', { message: metadata }], 2: ['spec', { message: { 1: ['replicas', 'number'] } }] },
  SelfSubjectAccessReview: { 1: ['metadata', { message: metadata }], 2: ['spec', 'skip'] },
};

/**
 * Reads an object from protobuf.
 * @throws {ApiError} 415 for a kind that is only taken as JSON, 400 for what is damaged
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
 */
export function readProtobuf(bytes: Buffer): Json {
  if (bytes.subarray(0, 4).toString('latin1') !== 'k8s\0')
    throw badRequest('provided data does not appear to be a protobuf message');
  const envelope = fieldsOf(bytes.subarray(4));
  const type = fieldsOf(bytesOf(envelope, 1));
  const [apiVersion, kind] = [bytesOf(type, 1).toString(), bytesOf(type, 2).toString()];
  const message = kinds[kind];
  if (message === undefined) {
    throw new ApiError(
      415,
      'UnsupportedMediaType',
      `a ${kind} in protobuf is not simulated: write it with --dry-run=client -o yaml, and apply that`,
    );
  }
  return { apiVersion, kind, ...readMessage(bytesOf(envelope, 2), message) };
}

interface Field {
  readonly number: number;
  readonly value: Buffer | number;
}

function bytesOf(fields: readonly Field[], number: number): Buffer {
  const found = fields.find((field) => field.number === number)?.value;
  return Buffer.isBuffer(found) ? found : Buffer.alloc(0);
}

/** Takes a message apart; each field moves on, so that it ends. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = bytes[at];
      if (byte === undefined) throw badRequest('the protobuf message is cut off');
      at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw badRequest('the protobuf message is damaged');
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    const number = Math.floor(tag / 8);
    if (wire === 0) {
      fields.push({ number, value: varint() });
      continue;
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : -1;
    if (length < 0 || at + length > bytes.length) throw badRequest('the protobuf message is damaged');
    fields.push({ number, value: bytes.subarray(at, at + length) });
    at += length;
  }
  return fields;
}

function readMessage(bytes: Buffer, message: Message): Json {
  const object: Json = {};
  for (const { number, value } of fieldsOf(bytes)) {
    const [name, shape] = message[number] ?? ['', 'skip'];
    if (shape === 'skip') continue;
    if (typeof shape === 'object' && 'list' in shape) {
      const before = object[name];
      object[name] = [...(Array.isArray(before) ? before : []), readValue(value, shape.list)];
    } else if (typeof shape === 'object' && 'map' in shape) {
      const entry = fieldsOf(Buffer.isBuffer(value) ? value : Buffer.alloc(0));
      const inner = readValue(bytesOf(entry, 2), shape.map);
      const read = typeof shape.map === 'object' ? (inner as Json)[''] : inner;
      object[name] = { ...(object[name] as Json | undefined), [bytesOf(entry, 1).toString()]: read };
    } else {
      const read = readValue(value, shape);
      // Texts that are empty are not there: Go writes them all the same.
      if (read !== '' && read !== undefined) object[name] = read;
    }
  }
  return object;
}

function readValue(
  value: Buffer | number,
  shape: Exclude<Shape, 'skip' | { map: unknown } | { list: unknown }>,
): unknown {
  if (!Buffer.isBuffer(value)) return shape === 'number' ? value : undefined;
  if (shape === 'text') return value.toString();
  if (shape === 'bytes') return value.toString('base64');
  if (shape === 'number') return undefined;
  if ('message' in shape) return readMessage(value, shape.message);
  const fields = fieldsOf(value);
  if (shape.value === 'quantity') return bytesOf(fields, 1).toString();
  const number = fields.find((field) => field.number === 2)?.value ?? 0;
  return fields.find((field) => field.number === 1)?.value === 1 ? bytesOf(fields, 3).toString() : number;
}
