import type { Graph, GraphNode } from './graph-nodes.ts';

/** Where the nodes of a graph run. */
export interface Placement {
  readonly nodes: number;
  readonly accelerated: number;
  /** Those that the host's processor runs instead, and why. */
  readonly fallbacks: readonly { readonly name: string; readonly operator: string; readonly reason: string }[];
}

/** What makes integers of floats and floats of integers; between two of them the card computes. */
const edges = new Set(['QuantizeLinear', 'DequantizeLinear']);

/** Operators whose further operands are bounds and sizes, which are no numbers to compute with. */
const boundsBehind = new Set(['Clip', 'Pad', 'Resize']);

/**
 * Decides which nodes the card takes: those of an operator that it has, whose numbers are quantised on the way in.
 * @param unsupported operators that the card has not
 */
export function placeNodes({ nodes, integers }: Graph, unsupported: ReadonlySet<string>): Placement {
  /** Values that the card holds as integers. */
  const held = new Set(integers);
  const fallbacks: Placement['fallbacks'][number][] = [];
  for (const node of nodes) {
    const reason = reasonAgainst(node, held, unsupported);
    if (reason !== undefined) fallbacks.push({ name: node.name, operator: node.operator, reason });
    else for (const output of node.outputs) held.add(output);
  }
  return { nodes: nodes.length, accelerated: nodes.length - fallbacks.length, fallbacks };
}

function reasonAgainst(
  { operator, inputs }: GraphNode,
  held: ReadonlySet<string>,
  unsupported: ReadonlySet<string>,
): string | undefined {
  if (unsupported.has(operator)) return 'the card has no such operator';
  if (edges.has(operator)) return undefined;
  const operands = boundsBehind.has(operator) ? inputs.slice(0, 1) : inputs;
  const float = operands.find((input) => input !== '' && !held.has(input));
  return float === undefined ? undefined : `its operand "${float}" is not quantised`;
}
