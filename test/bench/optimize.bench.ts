import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { optimizeGraph } from '../../cloud/models/optimize.ts';
import { registerModel } from '../../cloud/models/register.ts';
import { Workspace } from '../../cloud/workspace/workspace.ts';
import { model, tensorValue } from '../cloud/models/onnx-writer.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { Bench } from './measure.ts';
import { GraphWriter, ints } from './scoring/squeezenet.ts';

const run = promisify(execFile);

/** ONNX's number of float32 (onnx.proto, TensorProto.DataType). */
const float32 = 1;

/**
 * What `--optimize` gives: loading a ResNet-18 in a process of its own, from the graph that was optimised at build, which was proven equal to the
 * original on made-up rows first, and from the original.
 */
export async function openBench(): Promise<Bench> {
  const folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'bench' });
  await mkdir(join(folder.path, 'model'));
  const original = join(folder.path, 'model', 'resnet.onnx');
  const optimized = join(folder.path, 'model', 'resnet.optimized.onnx');
  await writeFile(original, residualNet());
  const registered = await registerModel(workspace, { path: original, name: 'resnet' });
  const made = await optimizeGraph(registered, { file: original, target: optimized });
  if ('refused' in made) throw new Error(`The graph is not optimised: ${made.refused}`);
  process.stderr.write(`the answers differ by ${made.difference} at most\n`);
  return {
    measures: [
      {
        figure: 'load a ResNet-18, optimised at build',
        unit: 'ms',
        sample: async () => (await load(optimized, 'disabled')).ms,
        reference: { name: 'the original', sample: async () => (await load(original, 'all')).ms },
        bar: { atMost: 0.5 },
        rounds: 9,
      },
      {
        figure: 'peak memory of the process that has it loaded',
        unit: 'MB',
        sample: async () => (await load(optimized, 'disabled')).peakMegabytes,
        reference: { name: 'the original', sample: async () => (await load(original, 'all')).peakMegabytes },
        bar: { atMost: 0.75 },
      },
    ],
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Loads a model as the scoring server does, in a process of its own. */
async function load(file: string, level: 'all' | 'disabled'): Promise<{ ms: number; peakMegabytes: number }> {
  const program = `
    const { InferenceSession } = require(${JSON.stringify(createRequire(import.meta.url).resolve('onnxruntime-node'))});
    const startMs = performance.now();
    InferenceSession.create(${JSON.stringify(file)}, { graphOptimizationLevel: '${level}', intraOpNumThreads: 1 }).then(() => {
      const ms = performance.now() - startMs;
      console.log(JSON.stringify({ ms, peakMegabytes: process.resourceUsage().maxRSS / 1000 }));
    });`;
  const { stdout } = await run(process.execPath, ['--eval', program]);
  return JSON.parse(stdout) as { ms: number; peakMegabytes: number };
}

/**
 * Makes an ONNX file of the size and the operations of ResNet-18 without its batch normalisation, which exporters fold into the
 * convolutions (11.7 million weights, 1.8 GMAC): `image` float32[1, 3, 224, 224] to `scores` float32[1, 1000].
 * @see https://arxiv.org/abs/1512.03385
 */
function residualNet(): Uint8Array {
  const graph = new GraphWriter();
  let at = graph.convolution('image', { from: 3, to: 64, kernel: 7, stride: 2, padding: 3 });
  at = graph.node('MaxPool', [at], [ints('kernel_shape', 3, 3), ints('strides', 2, 2), ints('pads', 1, 1, 1, 1)]);
  let from = 64;
  for (const to of [64, 64, 128, 128, 256, 256, 512, 512]) {
    const stride = from === to ? 1 : 2;
    const first = graph.convolution(at, { from, to, kernel: 3, stride, padding: 1 });
    const second = graph.convolution(first, { from: to, to, kernel: 3, padding: 1 });
    const passed = stride === 1 ? at : graph.convolution(at, { from, to, kernel: 1, stride });
    at = graph.node('Relu', [graph.node('Add', [second, passed])]);
    from = to;
  }
  at = graph.node('GlobalAveragePool', [at]);
  at = graph.convolution(at, { from, to: 1000, kernel: 1 });
  at = graph.node('Flatten', [at]);
  graph.node('Identity', [at], [], 'scores');
  return model(
    ...graph.fields,
    [11, tensorValue('image', float32, [1, 3, 224, 224])],
    [12, tensorValue('scores', float32, [1, 1000])],
  );
}
