// Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
const modelGraph = 7;
const graphNode = 1;
const graphInitializer = 5;
const nodeField = { input: 1, output: 2, name: 3, operator: 4, attribute: 5 } as const;
const attributeField = { float: 2, tensor: 5, floats: 7 } as const;
const tensorField = { type: 2, name: 8 } as const;
const floatType = 1;

/** A node of a graph. */
export interface GraphNode {
  readonly name: string;
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** A graph, as far as it matters where its nodes run. */
export interface Graph {
  /** Those that compute something, which constants do not. */
  readonly nodes: readonly GraphNode[];
  /** Names of the weights and constants that are no floats: integers, shapes, axes. */
  readonly integers: ReadonlySet<string>;
}

/** Reads the graph of an ONNX file. @throws {Error} when it is none */
export function readGraph(file: Uint8Array): Graph {
  const nodes: GraphNode[] = [];
  const integers = new Set<string>();
  for (const graph of fieldsOf(file).filter(({ number }) => number === modelGraph)) {
    for (const { number, bytes } of fieldsOf(graph.bytes)) {
      if (number === graphNode) {
        const node = readNode(bytes);
        if (node.operator !== 'Constant') nodes.push(node);
        else if (!isFloatConstant(bytes)) for (const output of node.outputs) integers.add(output);
      }
      if (number !== graphInitializer || isFloatTensor(bytes)) continue;
      for (const name of textsOf(fieldsOf(bytes), tensorField.name)) integers.add(name);
    }
  }
  return { nodes, integers };
}

function readNode(bytes: Uint8Array): GraphNode {
  const fields = fieldsOf(bytes);
  const [operator = ''] = textsOf(fields, nodeField.operator);
  const outputs = textsOf(fields, nodeField.output);
  const [name = ''] = textsOf(fields, nodeField.name);
  return { name: name === '' ? (outputs[0] ?? '') : name, operator, inputs: textsOf(fields, nodeField.input), outputs };
}

function isFloatTensor(bytes: Uint8Array): boolean {
  return fieldsOf(bytes).findLast(({ number }) => number === tensorField.type)?.value === floatType;
}

function isFloatConstant(node: Uint8Array): boolean {
  const attributes = fieldsOf(node).filter(({ number }) => number === nodeField.attribute);
  return attributes
    .flatMap(({ bytes }) => fieldsOf(bytes))
    .some(({ number, bytes }) => {
      if (number === attributeField.tensor) return isFloatTensor(bytes);
      return number === attributeField.float || number === attributeField.floats;
    });
}

interface Field {
  readonly number: number;
  readonly value: number;
  readonly bytes: Uint8Array;
}

function textsOf(fields: readonly Field[], number: number): string[] {
  return fields.filter((field) => field.number === number).map(({ bytes }) => Buffer.from(bytes).toString());
}

/** @see https://protobuf.dev/programming-guides/encoding/ */
function fieldsOf(message: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at];
      if (byte === undefined) throw new Error('the file is no ONNX model');
      at += 1;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const wire = key % 8;
    const number = Math.floor(key / 8);
    const value = wire === 0 ? varint() : 0;
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : 0;
    if (at + length > message.length || ![0, 1, 2, 5].includes(wire)) throw new Error('the file is no ONNX model');
    fields.push({ number, value, bytes: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}
