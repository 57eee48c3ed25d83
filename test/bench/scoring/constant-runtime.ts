import { registerHooks } from 'node:module';

// Preloaded (`node --import`) into the server that inference is compared with: it finds this in place of ONNX Runtime's native side. What it
// gives has the names, types and shapes of the perceptron's answers, and the same values for every row.

const source = `
const label = (rows) => ({ type: 'int64', dims: [rows], data: new BigInt64Array(rows).fill(7n) });
const probabilities = (rows) => ({
  type: 'float32',
  dims: [rows, 10],
  data: new Float32Array(rows * 10).map((_, index) => [0.0001, 0.02, 0.003, 0.0004, 0.5, 0.06, 0.0007, 0.8, 0.09, 0.001][index % 10]),
});
const answer = (rows) => ({ label: label(rows), probabilities: probabilities(rows) });
const answers = Array.from({ length: 257 }, (_, rows) => answer(rows));
class InferenceSession {
  inputMetadata = [{ name: 'pixels' }];
  outputMetadata = [{ name: 'label' }, { name: 'probabilities' }];
  loadModel() {}
  run({ pixels }) {
    return answers[pixels.dims[0]];
  }
  dispose() {}
}
export const binding = { InferenceSession };
export const initOrt = () => undefined;
`;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'onnxruntime-node/dist/binding.js'
      ? { url: 'constant:runtime', format: 'module', shortCircuit: true }
      : next(specifier, context),
  load: (url, context, next) =>
    url === 'constant:runtime' ? { format: 'module', source, shortCircuit: true } : next(url, context),
});
