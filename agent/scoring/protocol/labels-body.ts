import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import { correlationIdLengthMax } from '../../collect/stream.ts';
import { allocate, type Tensor } from '../../collect/tensor.ts';

const scalar = z.union([z.number(), z.string(), z.boolean()]);

const labelsSchema = z.strictObject({
  /** Of the scored request, from its answer's header. */
  correlationId: z.string().min(1).max(correlationIdLengthMax),
  /** A model other than that of `/score`, by name. */
  model: z.string().optional(),
  /** What is true of each row of the request, by the name of the column; one value is one row. */
  labels: z.record(z.string().min(1), z.union([scalar, z.array(scalar).min(1)])),
});

/** What came true of the rows of a scored request. */
export interface Labels {
  readonly correlationId: string;
  readonly model: string | undefined;
  /** One dimension each, as long as the request has rows. */
  readonly tensors: readonly Tensor[];
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads the body of `/collect/labels`: `{ "correlationId": …, "labels": { "<column>": one value or an array, … } }`.
 * @throws {FerryError} REQUEST_INVALID
 */
export function parseLabelsBody(body: Uint8Array): Labels {
  const parsed = labelsSchema.safeParse(jsonIn(body));
  if (!parsed.success) {
    throw invalid(parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
  }
  const { correlationId, model, labels } = parsed.data;
  const tensors = Object.entries(labels).map(([name, values]) =>
    toTensor(name, Array.isArray(values) ? values : [values]),
  );
  const [first] = tensors;
  if (first === undefined) throw invalid('it has no label, one at least was wanted');
  const other = tensors.find(({ data }) => data.length !== first.data.length);
  if (other !== undefined) {
    throw invalid(
      `"${other.name}" has ${other.data.length} values, "${first.name}" has ${first.data.length}: as many were wanted`,
    );
  }
  return { correlationId, model, tensors };
}

function toTensor(name: string, values: readonly (number | string | boolean)[]): Tensor {
  const shape = [values.length];
  const kinds = new Set(values.map((value) => typeof value));
  if (kinds.size > 1) throw invalid(`"${name}" mixes ${[...kinds].join(' and ')}, values of one kind were wanted`);
  if (kinds.has('string')) return { name, type: 'string', shape, data: values.map(String) };
  const type: TensorType = kinds.has('boolean') ? 'bool' : 'float64';
  const data = allocate(type, values.length);
  for (const [index, value] of values.entries()) data[index] = Number(value);
  return { name, type, shape, data };
}

function jsonIn(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch {
    throw invalid('it is no JSON in UTF-8');
  }
}

function invalid(found: string): FerryError {
  return new FerryError('REQUEST_INVALID', `Cannot read the labels: ${found}`);
}
