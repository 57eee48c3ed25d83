import { type ByteRange, type ProtobufFile, WireError, type WireField } from './protobuf-file.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const modelProto = { graph: 7 } as const;
const graphProto = { node: 1, initializer: 5 } as const;
const nodeProto = { input: 1, output: 2, name: 3, operator: 4, attribute: 5, domain: 7 } as const;
const tensorProto = { dataType: 2, name: 8 } as const;
const attributeProto = { float: 2, tensor: 5, floats: 7, sparse: 22 } as const;
/** `TensorProto.DataType`: float, float16, double, bfloat16. */
const floatTypes: ReadonlySet<bigint> = new Set([1n, 10n, 11n, 16n]);

/** Most nodes that are read; a model with more is broken or hostile. */
const nodesMax = 1_000_000;

/** A node of a model's graph. */
export interface GraphNode {
  /** Its own, else that of its first output. */
  readonly name: string;
  readonly operator: string;
  /** Empty for ONNX's own. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * Reads the nodes of a model's graph, in the order of the file, which is one in which they can run.
 * @returns the nodes without constants, and the names of the constants and weights that are no floats
 * @throws {WireError} when the file is damaged
 */
export function readGraphNodes(file: ProtobufFile): {
  readonly nodes: readonly GraphNode[];
  readonly integers: ReadonlySet<string>;
} {
  const nodes: GraphNode[] = [];
  const integers = new Set<string>();
  for (const graph of file.fields(file.whole)) {
    if (graph.number !== modelProto.graph) continue;
    for (const field of file.fields(graph)) {
      if (field.number === graphProto.initializer) {
        const name = integerName(file, field);
        if (name !== undefined) integers.add(name);
      }
      if (field.number !== graphProto.node) continue;
      const node = readNode(file, field);
      if (node.operator !== 'Constant') nodes.push(node);
      else if (!isFloatConstant(file, field)) for (const output of node.outputs) integers.add(output);
      if (nodes.length > nodesMax) throw new WireError(`it has more than ${nodesMax} nodes`, field.start);
    }
  }
  return { nodes, integers };
}

function readNode(file: ProtobufFile, node: WireField): GraphNode {
  const texts = { input: [] as string[], output: [] as string[], name: '', operator: '', domain: '' };
  for (const field of file.fields(node)) {
    if (field.number === nodeProto.input) texts.input.push(file.text(field));
    else if (field.number === nodeProto.output) texts.output.push(file.text(field));
    else if (field.number === nodeProto.name) texts.name = file.text(field);
    else if (field.number === nodeProto.operator) texts.operator = file.text(field);
    else if (field.number === nodeProto.domain) texts.domain = file.text(field);
  }
  const { input: inputs, output: outputs, operator, domain } = texts;
  return { name: texts.name || (outputs[0] ?? ''), operator, domain, inputs, outputs };
}

function integerName(file: ProtobufFile, tensor: ByteRange): string | undefined {
  if (isFloat(file, tensor)) return undefined;
  const name = [...file.fields(tensor)].findLast((field) => field.number === tensorProto.name);
  return name && file.text(name);
}

function isFloat(file: ProtobufFile, tensor: ByteRange): boolean {
  const type = [...file.fields(tensor)].findLast((field) => field.number === tensorProto.dataType);
  return floatTypes.has(type?.integer ?? 0n);
}

function isFloatConstant(file: ProtobufFile, node: ByteRange): boolean {
  return [...file.fields(node)]
    .filter((field) => field.number === nodeProto.attribute)
    .flatMap((attribute) => [...file.fields(attribute)])
    .some((field) => {
      if (field.number === attributeProto.tensor) return isFloat(file, field);
      return [attributeProto.float, attributeProto.floats, attributeProto.sparse].some((of) => of === field.number);
    });
}
