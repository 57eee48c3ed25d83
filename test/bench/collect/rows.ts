import { randomUUID } from 'node:crypto';
import type { ScoredTensors } from '../../../agent/collect/collector.ts';

/** Floats of a row. */
export const rowFloats = 64;

/** Gives the inputs of so many requests, one row of 64 floats each. */
export function scoredRequests(count: number): ScoredTensors[] {
  return Array.from({ length: count }, (_, request) => ({
    model: 'm',
    version: 1,
    designation: 'inputs',
    tensors: [
      {
        name: 'x',
        type: 'float32',
        shape: [1, rowFloats],
        data: Float32Array.from({ length: rowFloats }, (__, column) => Math.sin(request * rowFloats + column)),
      },
    ],
    correlationId: randomUUID(),
    requestId: randomUUID(),
    scoredAtMs: Date.now(),
  }));
}
