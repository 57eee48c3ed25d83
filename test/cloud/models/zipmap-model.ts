import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { tensorValue } from './onnx-writer.ts';

/** What {@link zipMapModel} writes. */
interface ClassifierOptions {
  readonly labels: readonly (number | string)[];
  readonly rows: number | string;
  readonly operator?: string;
  readonly more?: readonly Field[];
}

/** Writes what scikit-learn's converter makes of a logistic regression: a linear classifier, and a ZipMap behind its probabilities. */
export function zipMapModel({ labels, rows, operator = 'ZipMap', more = [] }: ClassifierOptions): Uint8Array {
  const isText = typeof labels[0] === 'string';
  const classes = message(
    [1, `classlabels_${isText ? 'strings' : 'int64s'}`],
    ...labels.map((label): Field => [isText ? 9 : 8, label]),
    [20, isText ? 8 : 7],
  );
  const zipClasses = isText ? classes : message([1, 'classlabels_int64s'], [8, packed(labels.map(Number))], [20, 7]);
  const text = (name: string, value: string): Uint8Array => message([1, name], [4, value], [20, 3]);
  const linear = message(
    [1, 'x'],
    [2, 'label'],
    [2, 'raw'],
    [4, 'LinearClassifier'],
    [5, floats('coefficients', [1, 0, 0, 1])],
    [5, floats('intercepts', [0, 0])],
    [5, classes],
    [5, text('post_transform', 'SOFTMAX')],
    [7, 'ai.onnx.ml'],
  );
  const zip = message([1, 'raw'], [2, 'probabilities'], [3, 'zip'], [4, operator], [5, zipClasses], [7, 'ai.onnx.ml']);
  const maps = message([1, 'probabilities'], [2, message([4, message([1, message([5, mapOf(isText)])])])]);
  return message(
    [1, 8],
    [8, message([1, 'ai.onnx.ml'], [2, 1])],
    [
      7,
      message(
        [1, linear],
        [1, zip],
        [2, 'classifier'],
        ...more,
        [11, tensorValue('x', 1, [rows, 2])],
        [12, tensorValue('label', isText ? 8 : 7, [rows])],
        [12, maps],
      ),
    ],
    [14, message([1, 'author'], [2, 'me'])],
  );
}

/** TypeProto.Map: the type of keys, and of values. */
function mapOf(isText: boolean): Uint8Array {
  return message([1, isText ? 8 : 7], [2, message([1, message([1, 1])])]);
}

function packed(integers: readonly number[]): Uint8Array {
  return Buffer.concat(integers.map((integer) => message([1, integer]).subarray(1)));
}

function floats(name: string, values: readonly number[]): Uint8Array {
  return Buffer.concat([message([1, name], [7, new Uint8Array(new Float32Array(values).buffer)], [20, 6])]);
}
