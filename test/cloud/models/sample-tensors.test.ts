import { expect, test } from 'vitest';
import { loadOnce } from '../../../cloud/models/load-once.ts';
import { readOnnx } from '../../../cloud/models/onnx.ts';
import {
  elementsOf,
  fromRuntimeTensors,
  madeUpTensors,
  toRuntimeTensors,
} from '../../../cloud/models/sample-tensors.ts';
import type { Signature, TensorType } from '../../../shared/model/signature.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identityModel } from '../../agent/scoring/made-models.ts';

test.each<[TensorType, unknown, unknown?]>([
  ['bool', [true, false]],
  ['float16', [0.1, 'NaN', -65500]],
  ['float32', [0.1, 16777216, '-Infinity']],
  ['float64', [0.1, 1e300, 'Infinity']],
  ['int8', [-128, 127]],
  ['int16', [-32768, 32767]],
  ['int32', [-2147483648, 2147483647]],
  ['int64', [-1, '9223372036854775807', '7'], [-1, '9223372036854775807', 7]],
  ['string', ['a', '', 'ü']],
  ['uint8', [0, 255]],
  ['uint16', [65535]],
  ['uint32', [4294967295]],
  ['uint64', ['18446744073709551615', 1]],
])('a sample of %s passes through the runtime as it is', async (type, values, answer = values) => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'identity.onnx');
  await writeFile(file, identityModel(type, ['n']));
  const { signature } = readOnnx(file);
  const { outputs = [] } = await loadOnce({ file, sizeBytes: 0, request: toRuntimeTensors({ x: values }, signature) });
  expect(fromRuntimeTensors(outputs, signature)).toEqual({ y: answer });
});

test('fromRuntimeTensors() nests by shape, down to a single value and up to nothing', () => {
  const signature: Signature = {
    inputs: [],
    outputs: ['a', 'b', 'c'].map((name) => ({ name, type: 'uint8', shape: [] })),
  };
  const data = (bytes: number[]): string => Buffer.from(bytes).toString('base64');
  const tensors = [
    { name: 'c', type: 'uint8', shape: [0, 2], data: '' },
    { name: 'a', type: 'uint8', shape: [], data: data([7]) },
    { name: 'b', type: 'uint8', shape: [2, 1, 2], data: data([1, 2, 3, 4]) },
  ] as const;
  expect(
    fromRuntimeTensors(
      tensors.map((tensor) => ({ ...tensor, shape: [...tensor.shape] })),
      signature,
    ),
  ).toEqual({
    a: 7,
    b: [[[1, 2]], [[3, 4]]],
    c: [],
  });
});

test('madeUpTensors() fits any signature: floats differ, all else is zero or empty', () => {
  const inputs: Signature['inputs'] = [
    { name: 'x', type: 'float32', shape: ['batch', 2] },
    { name: 'i', type: 'int64', shape: ['batch', '?'] },
    { name: 't', type: 'string', shape: ['batch'] },
  ];
  const [x, i, t] = madeUpTensors({ inputs, outputs: [] }, 2);
  expect([x?.shape, i?.shape, t?.shape]).toEqual([[2, 2], [2, 1], [2]]);
  expect(new Set(x && elementsOf(x)).size).toBe(4);
  expect(i && elementsOf(i)).toEqual([0n, 0n]);
  expect(t?.data).toEqual(['', '']);
});
