import { closeSync, openSync, readSync } from 'node:fs';

/** What files that are mistaken for an ONNX model begin with. */
const beginnings: readonly { readonly offset: number; readonly bytes: string; readonly what: string }[] = [
  {
    offset: 0,
    bytes: 'PK\u0003\u0004',
    what: 'a ZIP archive (PyTorch and Keras 3 save such), export it to ONNX first',
  },
  { offset: 0, bytes: '\u0089HDF', what: 'an HDF5 file (Keras saves such), export it to ONNX first' },
  { offset: 0, bytes: '\u0080\u0004\u0095', what: 'a Python pickle (scikit-learn), export it to ONNX first' },
  { offset: 4, bytes: 'TFL3', what: 'a TensorFlow Lite model, export it to ONNX first' },
  {
    offset: 4,
    bytes: 'ORTM',
    what: 'a model in the own format of ONNX Runtime, the .onnx file it was made of was wanted',
  },
  { offset: 0, bytes: '\u001f\u008b', what: 'a gzip file, the ONNX file inside of it was wanted' },
  { offset: 0, bytes: 'version https://git-lfs', what: 'a Git LFS pointer, run `git lfs pull` first' },
];
const beginningBytes = 64;

/** Names the format of a file that is no ONNX model, where its first bytes tell. */
export function guessFormat(path: string): string | undefined {
  const beginning = readBeginning(path);
  if (beginning.length === 0) return undefined;
  const known = beginnings.find(({ offset, bytes }) => beginning.startsWith(bytes, offset));
  if (known !== undefined) return known.what;
  return /^[\t\n\r\u0020-\u007e]*$/.test(beginning) ? 'a text' : undefined;
}

/** Gives the first bytes with one character each. */
function readBeginning(path: string): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(beginningBytes);
    return bytes.subarray(0, readSync(file, bytes, 0, beginningBytes, 0)).toString('latin1');
  } finally {
    closeSync(file);
  }
}
