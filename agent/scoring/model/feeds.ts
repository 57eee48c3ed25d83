import { FerryError } from '../../../shared/errors.ts';
import type { Signature, TensorSpec } from '../../../shared/model/signature.ts';
import { elementCount, type Tensor, type TensorData } from '../../collect/tensor.ts';

/** Elements of an input whose open dimensions are 1: what one row holds. */
export function elementsOfOneRow(spec: TensorSpec): number {
  return elementCount(spec.shape.map((dimension) => (typeof dimension === 'number' ? dimension : 1)));
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
  const fits =
    shape.length === spec.shape.length &&
    spec.shape.every((wanted, index) => typeof wanted === 'string' || wanted === shape[index]);
  if (!fits) {
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

/**
 * Puts what was given into the order of the signature.
 * @throws {FerryError} REQUEST_INVALID when inputs are missing, or dimensions of one name differ
 */
export function inSignatureOrder(signature: Signature, given: ReadonlyMap<string, Tensor>): Tensor[] {
  const missing = signature.inputs.filter(({ name }) => !given.has(name)).map(({ name }) => `"${name}"`);
  if (missing.length > 0) {
    throw new FerryError(
      'REQUEST_INVALID',
      `Cannot read the request: it has no ${missing.join(', no ')}, every input was wanted`,
    );
  }
  const feeds = signature.inputs.flatMap(({ name }) => given.get(name) ?? []);
  checkSymbols(signature, feeds);
  return feeds;
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
