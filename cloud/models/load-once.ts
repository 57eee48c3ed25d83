import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import { createRequire } from 'node:module';
import { FerryError } from '../../shared/errors.ts';

/** Loading takes 290 ms for 100 MB on two cores; a minute a gigabyte leaves room for slow disks. */
const timeoutMsOf = (modelBytes: number): number => 30_000 + Math.ceil(modelBytes / 1e9) * 60_000;
/** Graph optimisation holds about three copies of the weights at its peak; the rest is the runtime itself. */
const memoryBytesOf = (modelBytes: number): number => 3 * modelBytes + 1e9;
/** Most that is kept of what the runtime prints, in bytes. */
const outputBytesMax = 64 * 1024;

/** A model file to be loaded. */
export interface LoadOptions {
  readonly file: string;
  readonly sizeBytes: number;
  readonly signal?: AbortSignal;
  /** How long it may take. @default 30 s and a minute a gigabyte */
  readonly timeoutMs?: number;
}

/**
 * Loads a model in ONNX Runtime once, in a process of its own with a time and a memory limit, so that a model that
 * crashes the runtime, never ends or eats all memory hurts nobody.
 * @throws {FerryError} MODEL_INVALID when the runtime does not load it, with the runtime's reason
 */
export async function loadOnce(options: LoadOptions): Promise<void> {
  const { file, sizeBytes, signal, timeoutMs = timeoutMsOf(sizeBytes) } = options;
  signal?.throwIfAborted();
  const runtime = createRequire(import.meta.url).resolve('onnxruntime-node');
  // The source of the function, so that the published bundle needs no second file for it.
  const node = [process.execPath, '--eval', `(${loadInThisProcess.toString()})()`, '--', runtime, file] as const;
  const [command, ...args] = limitMemory(node, memoryBytesOf(sizeBytes));
  // The runtime would send telemetry to its maker otherwise.
  const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const [answer, complaint, end] = await Promise.all([
      collectText(child.stdout),
      collectText(child.stderr),
      waitForEnd(child),
    ]);
    signal?.throwIfAborted();
    if (answer === 'loaded') return;
    const found = late
      ? `it was not loaded after ${timeoutMs} ms, the longest it may take`
      : answer || `the runtime ended with ${end}${complaint === '' ? '' : `: ${complaint.trim()}`}`;
    throw new FerryError('MODEL_INVALID', `Cannot load "${basename(file)}" in ONNX Runtime: ${found}`);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}

/** What the child does; it stands alone, since only its source goes there. Prints `loaded`, or the runtime's reason. */
async function loadInThisProcess(): Promise<void> {
  const [runtime = '', file = ''] = process.argv.slice(-2);
  const print = (text: string): void => void process.stdout.write(text, () => process.exit(0));
  try {
    const { InferenceSession } = process.getBuiltinModule('node:module').createRequire(runtime)(runtime);
    await InferenceSession.create(file, { graphOptimizationLevel: 'basic', logSeverityLevel: 4 });
    print('loaded');
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
  }
}

/** Puts before a command what keeps it from having more data than that; nothing where there is no such thing. */
function limitMemory(command: readonly [string, ...string[]], bytes: number): readonly [string, ...string[]] {
  if (process.platform !== 'linux') return command;
  return ['/bin/sh', '-c', 'ulimit -d "$0" && exec "$@"', String(Math.ceil(bytes / 1024)), ...command];
}

async function collectText(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const piece of stream) {
    if (text.length < outputBytesMax) text += String(piece);
  }
  return text;
}

function waitForEnd(child: ReturnType<typeof spawn>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.once('error', reject);
  child.once('close', (code, signal) => resolve(signal ?? `exit code ${code ?? 'none'}`));
  return promise;
}
