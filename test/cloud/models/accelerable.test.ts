import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readAccelerable } from '../../../cloud/models/accelerable.ts';
import { findModel } from '../../../cloud/models/model.ts';
import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { runFerry } from '../../ferry.ts';
import { workspaceRig } from '../workspace-rig.ts';
import { model, tensorValue } from './onnx-writer.ts';
import { floatModel, quantizedModel } from './quantized-model.ts';

test('readAccelerable() takes a model that is quantised throughout, wherever its file lies in the layer', async () => {
  expect(await accelerableOf(quantizedModel())).toEqual({ nodes: 7, fallbacks: [], openTensors: [] });
  const long = `${'long/'.repeat(50)}b.txt`;
  const beside = {
    'aä.txt': 'before, with a name that takes a record of its own',
    [long]: 'before too',
    'z.txt': 'behind',
  };
  expect(await accelerableOf(quantizedModel(), beside)).toEqual({ nodes: 7, fallbacks: [], openTensors: [] });
});

test('readAccelerable() names the nodes that would run on the processor, and the dimensions that are open', async () => {
  expect(await accelerableOf(floatModel())).toEqual({
    nodes: 2,
    fallbacks: [
      { node: 'first', operator: 'Relu', reason: 'its operand "x" is not quantised' },
      { node: 'y', operator: 'Relu', reason: 'its operand "between" is not quantised' },
    ],
    openTensors: [],
  });
  expect(await accelerableOf(quantizedModel({ rows: 'batch' }))).toMatchObject({
    fallbacks: [],
    openTensors: ['"x" has the shape [batch, 4]', '"y" has the shape [batch, 3]'],
  });
});

test.each([
  ['QLinearAdd', '', 'it is of the QOperator format, QDQ was wanted'],
  ['DynamicQuantizeLinear', '', 'it finds its scale at run time, a constant was wanted'],
  ['Loop', '', 'it holds a graph of its own'],
  ['NonZero', '', 'its shape depends on the data'],
  ['Gelu', 'com.example', 'it is of the domain "com.example"'],
  ['Add', '', 'its operand "weights" is not quantised'],
  ['Clip', '', undefined],
  ['Gather', '', undefined],
])('readAccelerable() judges a node of the operator %s', async (operator, domain, reason) => {
  const operands = { Add: ['d', 'weights'], Clip: ['d', 'weights'], Gather: ['d', 'axes'] }[operator] ?? ['d'];
  const node = (name: string, inputs: readonly string[], output: string, own = ''): Field => [
    1,
    message(...inputs.map((input): Field => [1, input]), [2, output], [3, name], [4, name], [7, own]),
  ];
  const file = model(
    node('DequantizeLinear', ['x', 'weights'], 'd'),
    node(operator, operands, 'y', domain),
    // TensorProto: dims, data_type (float, int64), name, raw_data.
    [5, message([1, 1], [2, 1], [8, 'weights'], [9, Buffer.alloc(4)])],
    [5, message([1, 1], [2, 7], [8, 'axes'], [9, Buffer.alloc(8)])],
    [11, tensorValue('x', 3, [1])],
    [12, tensorValue('y', 1, [1])],
  );
  const found = await accelerableOf(file);
  expect(found?.fallbacks).toEqual(reason === undefined ? [] : [{ node: operator, operator, reason }]);
});

test('ferry model show says what an accelerator would run, and image create --flavor fpga refuses the rest', async () => {
  await using rig = await workspaceRig();
  const ferry = (...args: string[]) => runFerry(args, { cwd: rig.folder });
  const write = (name: string, file: Uint8Array) => writeFile(join(rig.folder, `${name}.onnx`), file);
  await write('int8', quantizedModel());
  await write('float', floatModel());
  for (const name of ['int8', 'float']) {
    expect(await ferry('model', 'register', `${name}.onnx`, '--name', name)).toMatchObject({ code: 0 });
  }
  expect((await ferry('model', 'show', 'int8')).stdout).toContain('7 of 7 nodes in integers (QDQ), fixed shapes');
  expect((await ferry('model', 'show', 'float')).stdout).toMatch(
    /0 of 2 nodes .*\n *on the processor: Relu "first" \(its operand "x" is not quantised\), Relu "y"/,
  );
  expect(JSON.parse((await ferry('model', 'show', 'float', '--json')).stdout)).toMatchObject({
    accelerable: { nodes: 2, fallbacks: [{ node: 'first', operator: 'Relu' }, { node: 'y' }] },
  });
  const refused = await ferry('image', 'create', '--model', 'float', '--flavor', 'fpga');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(
    'MODEL_INVALID: Cannot build an image of the flavor "fpga": 2 of 2 nodes of "float:1"',
  );
  expect(refused.stderr).toContain('Relu "first" (its operand "x" is not quantised)');
  expect(await ferry('image', 'create', '--model', 'int8', '--flavor', 'fpga')).toMatchObject({ code: 0 });
});

async function accelerableOf(file: Uint8Array, beside: Readonly<Record<string, string>> = {}) {
  await using rig = await workspaceRig();
  const folder = join(rig.folder, 'net');
  for (const [path, text] of Object.entries({ 'm.onnx': file, ...beside })) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  await registerModel(rig.workspace, { path: folder, name: 'net', main: 'm.onnx' }, { load: false });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  return await readAccelerable(layout, findModel(rig.workspace.database, { name: 'net' }));
}
