import { FerryError } from '../../../shared/errors.ts';
import type { Signature, TensorSpec } from '../../../shared/model/signature.ts';
import { elementCount, type Tensor, type TensorData } from '../../collect/tensor.ts';

/** Elements of an input whose open dimensions are 1: what one row holds. */
export function elementsOfOneRow(spec: TensorSpec): number {
  let elements = 1;
  for (const dimension of spec.shape) if (typeof dimension === 'number') elements *= dimension;
  return elements;
}

/**
 * Makes the tensor that an input was given, where its shape fits.
 * @param values an empty array says nothing of the dimensions below it: those that are fixed are filled in
 * @throws {FerryError} REQUEST_INVALID when the shape does not fit
 */
export function toFeed(
  spec: TensorSpec,
  values: { readonly shape: readonly number[]; readonly data: TensorData },
): Tensor {
  const { name, type } = spec;
  const shape = values.shape.includes(0) ? completed(values.shape, spec) : values.shape;
  if (!fits(shape, spec)) {
    throw new FerryError(
      'REQUEST_INVALID',
      `Cannot read the input "${name}": its shape is ${shapeText(values.shape)}, ${shapeText(spec.shape)} was wanted`,
    );
  }
  const elements = elementCount(shape);
  if (values.data.length !== elements) {
    throw new FerryError(
      'REQUEST_INVALID',
      `Cannot read the input "${name}": it has ${values.data.length} elements, ${elements} were wanted for the shape ${shapeText(shape)}`,
    );
  }
  return { name, type, shape, data: values.data };
}

function fits(shape: readonly number[], { shape: wanted }: TensorSpec): boolean {
  if (shape.length !== wanted.length) return false;
  for (let at = 0; at < wanted.length; at += 1) {
    const dimension = wanted[at];
    if (typeof dimension === 'number' && dimension !== shape[at]) return false;
  }
  return true;
}

/**
 * Puts what was given into the order of the signature.
 * @throws {FerryError} REQUEST_INVALID when inputs are missing, or dimensions of one name differ
 */
export function inSignatureOrder(signature: Signature, given: ReadonlyMap<string, Tensor>): Tensor[] {
  const feeds: Tensor[] = [];
  for (const { name } of signature.inputs) {
    const feed = given.get(name);
    if (feed === undefined) throw incomplete(signature, given);
    feeds.push(feed);
  }
  checkSymbols(signature, feeds);
  return feeds;
}

function incomplete({ inputs }: Signature, given: ReadonlyMap<string, Tensor>): FerryError {
  const missing = inputs.filter(({ name }) => !given.has(name)).map(({ name }) => `"${name}"`);
  return new FerryError(
    'REQUEST_INVALID',
    `Cannot read the request: it has no ${missing.join(', no ')}, every input was wanted`,
  );
}

/** Dimensions that have one name have one size. */
function checkSymbols(signature: Signature, feeds: readonly Tensor[]): void {
  if (feeds.length < 2) return;
  const sizes = new Map<string, number>();
  for (const [index, feed] of feeds.entries()) {
    for (const [at, symbol] of (signature.inputs[index]?.shape ?? []).entries()) {
      const size = feed.shape[at];
      if (typeof symbol === 'number' || symbol === '?' || size === undefined) continue;
      const before = sizes.get(symbol) ?? size;
      if (before !== size) {
        throw new FerryError(
          'REQUEST_INVALID',
          `Cannot read the input "${feed.name}": its dimension "${symbol}" is ${size}, ${before} was wanted as in the inputs before`,
        );
      }
      sizes.set(symbol, size);
    }
  }
}

function completed(shape: readonly number[], spec: TensorSpec): number[] {
  const below = spec.shape.slice(shape.length).map((dimension) => (typeof dimension === 'number' ? dimension : 0));
  return [...shape, ...below];
}

function shapeText(shape: readonly (number | string)[]): string {
  return `[${shape.join(', ')}]`;
}
