import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Field, message, varint } from '../../../cloud/models/protobuf-message.ts';

/** Writes an input or output (ValueInfoProto) that is a tensor; no shape where none is given. */
export function tensorValue(name: string, elementType: number, dimensions?: readonly (number | string)[]): Uint8Array {
  const shape = dimensions?.map((dimension): Field => {
    if (dimension === '?') return [1, message()];
    return [1, message(typeof dimension === 'number' ? [1, dimension] : [2, dimension])];
  });
  const tensor = message([1, elementType], ...(shape === undefined ? [] : [[2, message(...shape)] as const]));
  return message([1, name], [2, message([1, tensor])]);
}

/** Writes a model (ModelProto) around a graph (GraphProto). */
export function model(...graph: readonly Field[]): Uint8Array {
  return message([1, 8], [2, 'test'], [8, message([1, ''], [2, 13])], [7, message([2, 'graph'], ...graph)]);
}

/** A graph that passes its input `x` on to its output `y`. */
export const identityGraph: readonly Field[] = [
  [1, message([1, 'x'], [2, 'y'], [4, 'Identity'])],
  [11, tensorValue('x', 1, ['batch', 2])],
  [12, tensorValue('y', 1, ['batch', 2])],
];

/** Writes the identity model with an initializer of so many zeros, which are a hole at the end of the file: they take no room. */
export async function writeHoleModel(path: string, weightBytes: number): Promise<void> {
  const graph = message(...identityGraph);
  // TensorProto: dims, data_type uint8, name, and raw_data, of which only the length is written.
  const tensor = Buffer.concat([
    message([1, weightBytes], [2, 2], [8, 'zeros']),
    varint(9 * 8 + 2),
    varint(weightBytes),
  ]);
  const initializer = Buffer.concat([varint(5 * 8 + 2), varint(tensor.length + weightBytes), tensor]);
  const graphBytes = graph.length + initializer.length + weightBytes;
  const head = [message([1, 8], [8, message([2, 13])]), varint(7 * 8 + 2), varint(graphBytes), graph, initializer];
  await writeFile(path, Buffer.concat(head));
  await truncate(path, Buffer.concat(head).length + weightBytes);
}

/** Writes a model `y = x + w` whose two numbers `w` are in a file of their own. */
export async function writeExternalModel(folder: string): Promise<void> {
  const location = message([1, 'location'], [2, 'weights/w.bin']);
  const weights = message([1, 2], [2, 1], [8, 'w'], [13, location], [14, 1]);
  const add = message([1, 'x'], [1, 'w'], [2, 'y'], [4, 'Add']);
  await mkdir(join(folder, 'weights'), { recursive: true });
  await writeFile(join(folder, 'sum.onnx'), model([5, weights], [1, add], ...identityGraph.slice(1)));
  await writeFile(join(folder, 'weights/w.bin'), new Uint8Array(new Float32Array([1, 2]).buffer));
}
