import type { Payload } from './payload.ts';
import { isText, type Tensor } from './tensor.ts';

/** Rows of a request that fit into a block. */
export interface RequestPart {
  readonly rows: number;
  readonly tensors: readonly Tensor[];
  readonly payloads: readonly Payload[];
}

/** About what a string takes; it only decides where a request is cut. */
const textBytes = 16;

/**
 * Cuts a large request into parts of about so many bytes, so that memory stays bounded here and wherever blocks are read. What
 * has payloads is one row, and stays whole.
 */
export function partsOf(request: RequestPart, bytesMax: number): readonly RequestPart[] {
  const { rows, tensors } = request;
  let bytes = 0;
  for (const { data } of tensors) bytes += isText(data) ? data.length * textBytes : data.byteLength;
  if (bytes <= bytesMax) return [request];
  const rowsMax = Math.max(1, Math.floor(bytesMax / (bytes / rows)));
  const parts: RequestPart[] = [];
  for (let from = 0; from < rows; from += rowsMax) {
    const count = Math.min(rowsMax, rows - from);
    parts.push({
      rows: count,
      tensors: tensors.map((tensor) => cut(tensor, { from, count, of: rows })),
      payloads: from === 0 ? request.payloads : [],
    });
  }
  return parts;
}

function cut(tensor: Tensor, part: { readonly from: number; readonly count: number; readonly of: number }): Tensor {
  if (part.count === part.of) return tensor;
  const width = tensor.data.length / part.of;
  const [start, end] = [part.from * width, (part.from + part.count) * width];
  const data = isText(tensor.data) ? tensor.data.slice(start, end) : tensor.data.subarray(start, end);
  return { ...tensor, shape: [part.count, ...tensor.shape.slice(1)], data };
}
