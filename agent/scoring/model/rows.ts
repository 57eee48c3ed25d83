import type { Signature } from '../../../shared/model/signature.ts';
import { allocate, isText, type NumericData, type Tensor, type TensorData } from '../../collect/tensor.ts';

/**
 * Says whether requests to a model can share one run: every input and output has the same open first dimension.
 * That the model also treats rows apart is for a trial to show.
 */
export function hasRowDimension({ inputs, outputs }: Signature): boolean {
  const rows = inputs[0]?.shape[0];
  return typeof rows === 'string' && [...inputs, ...outputs].every(({ shape }) => shape[0] === rows);
}

/** Counts the rows of a request to a model that has rows. */
export function rowsOf(feeds: readonly Tensor[]): number {
  return feeds[0]?.shape[0] ?? 1;
}

/** Says whether two requests' tensors differ in their number of rows at most. */
export function sameButRows(left: readonly Tensor[], right: readonly Tensor[]): boolean {
  return left.every(({ shape }, index) => {
    const other = right[index]?.shape ?? [];
    return shape.length === other.length && shape.every((size, at) => at === 0 || size === other[at]);
  });
}

/** Puts the rows of several requests below each other. */
export function joinRows(requests: readonly (readonly Tensor[])[]): Tensor[] {
  const [first = []] = requests;
  return first.map(({ name, type, shape }, index) => {
    const parts: Tensor[] = [];
    let rows = 0;
    for (const request of requests) {
      const part = request[index];
      if (part === undefined) continue;
      parts.push(part);
      rows += part.shape[0] ?? 0;
    }
    return { name, type, shape: withRows(shape, rows), data: joinData(type, parts) };
  });
}

/** Takes rows out of tensors, without copying numbers. */
export function sliceRows(tensors: readonly Tensor[], from: number, rows: number): Tensor[] {
  return tensors.map(({ name, type, shape, data: all }) => {
    const count = shape[0] ?? 0;
    const width = count === 0 ? 0 : all.length / count;
    const [start, end] = [from * width, (from + rows) * width];
    const data = isText(all) ? all.slice(start, end) : all.subarray(start, end);
    return { name, type, shape: withRows(shape, rows), data };
  });
}

/** Gives a shape with another first dimension. */
function withRows(shape: readonly number[], rows: number): number[] {
  const changed = shape.slice();
  changed[0] = rows;
  return changed;
}

function joinData(type: Tensor['type'], parts: readonly Tensor[]): TensorData {
  if (type === 'string') return parts.flatMap(({ data }) => data as readonly string[]);
  let length = 0;
  for (const { data } of parts) length += data.length;
  const joined = allocate(type, length);
  let at = 0;
  for (const { data } of parts) {
    // All parts have the type of the first, and so the same kind of array.
    joined.set(data as NumericData as never, at);
    at += data.length;
  }
  return joined;
}
