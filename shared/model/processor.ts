import { readFileSync } from 'node:fs';

/**
 * Names what of this machine's processor a wholly optimised graph is made for: ONNX Runtime lays the weights of convolutions out in
 * blocks of 16 where x64 has AVX-512, of 8 elsewhere, and would misread the other.
 * @returns `x64`, `x64+avx512f` or `arm64`
 * @see https://github.com/microsoft/onnxruntime/blob/v1.23.0/onnxruntime/core/mlas/lib/platform.cpp `NchwcBlockSize`
 */
export function processorKind(): string {
  if (process.arch !== 'x64') return process.arch;
  return /^flags\s*:.*\bavx512f\b/m.test(readProcessors()) ? 'x64+avx512f' : 'x64';
}

function readProcessors(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}
