import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { layerFileRange } from './layer-file-range.ts';
import { type GraphNode, readGraphNodes } from './graph-nodes.ts';
import type { Model } from './model.ts';
import { ProtobufFile } from './protobuf-file.ts';

/** What an accelerator could make of a model, as far as its file tells; a runtime may take less. */
export interface Accelerable {
  /** Nodes that compute something: constants are none. */
  readonly nodes: number;
  /** Those that an accelerator would leave to the processor. */
  readonly fallbacks: readonly Fallback[];
  /** Inputs and outputs that leave a dimension open; an accelerator is compiled for one shape. */
  readonly openTensors: readonly string[];
}

/** A node that an accelerator would not run. */
export interface Fallback {
  readonly node: string;
  readonly operator: string;
  readonly reason: string;
}

/** Makes integers of floats, and floats of integers: what stands between two of them is computed in integers. */
const edges = new Set(['QuantizeLinear', 'DequantizeLinear']);
/** Operators of the older format, in which nodes themselves compute with integers. */
const integerOperators = /^(QLinear|QGemm|QAttention|ConvInteger$|MatMulInteger)/;
const graphHolders = new Set(['If', 'Loop', 'Scan', 'SequenceMap']);
/** The shape of what they give depends on the values that they are given. */
const shapedByData = new Set(['Compress', 'NonMaxSuppression', 'NonZero', 'Unique', 'StringSplit']);
/** Operators whose further operands are bounds, sizes and axes, not numbers to compute with. */
const settingsBehind = new Set([
  'Clip',
  'Pad',
  'Resize',
  'Reshape',
  'Slice',
  'Squeeze',
  'Unsqueeze',
  'Split',
  'Tile',
  'Expand',
]);

/**
 * Says of a registered model which nodes would fall back to the processor beside an accelerator. Its file is read in its layer, by random
 * access; no weight is read.
 * @returns undefined where the workspace has the layer no more
 */
export async function readAccelerable(layout: LayoutStore, model: Model): Promise<Accelerable | undefined> {
  if ((await layout.blobSize(model.digest)) === undefined) return undefined;
  const path = layout.blobPath(model.digest);
  using file = new ProtobufFile(path, layerFileRange(path, model));
  const { nodes, integers } = readGraphNodes(file);
  return { nodes: nodes.length, fallbacks: fallbacksOf(nodes, integers), openTensors: openTensors(model) };
}

/** Names nodes that would fall back, with the reason: as many as are asked for, the rest is counted. */
export function fallbackNames(fallbacks: readonly Fallback[], max: number): string {
  const named = fallbacks
    .slice(0, max)
    .map(({ node, operator, reason }) => `${operator} "${node}" (${reason})`)
    .join(', ');
  return fallbacks.length > max ? `${named}, and ${fallbacks.length - max} more` : named;
}

function fallbacksOf(nodes: readonly GraphNode[], integers: ReadonlySet<string>): Fallback[] {
  /** Values that an accelerator has: quantised, or constants that are no floats. */
  const held = new Set(integers);
  return nodes.flatMap((node) => {
    const reason = reasonAgainst(node, held);
    if (reason !== undefined) return [{ node: node.name, operator: node.operator, reason }];
    for (const output of node.outputs) held.add(output);
    return [];
  });
}

function reasonAgainst({ operator, domain, inputs }: GraphNode, held: ReadonlySet<string>): string | undefined {
  if (edges.has(operator)) return undefined;
  if (integerOperators.test(operator)) return 'it is of the QOperator format, QDQ was wanted';
  if (operator === 'DynamicQuantizeLinear') return 'it finds its scale at run time, a constant was wanted';
  if (domain !== '' && domain !== 'ai.onnx') return `it is of the domain "${domain}"`;
  if (graphHolders.has(operator)) return 'it holds a graph of its own';
  if (shapedByData.has(operator)) return 'its shape depends on the data';
  const operands = settingsBehind.has(operator) ? inputs.slice(0, 1) : inputs;
  const float = operands.find((input) => input !== '' && !held.has(input));
  return float === undefined ? undefined : `its operand "${float}" is not quantised`;
}

function openTensors({ signature }: Model): string[] {
  return [...signature.inputs, ...signature.outputs].flatMap(({ name, shape }) =>
    shape.every((dimension) => typeof dimension === 'number') ? [] : [`"${name}" has the shape [${shape.join(', ')}]`],
  );
}
