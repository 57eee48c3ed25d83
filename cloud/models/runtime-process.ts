import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { messageOf } from '../../shared/errors.ts';
import { tensorTypes } from '../../shared/model/signature.ts';

/** Most that is kept of what the process prints, in bytes: answers hold tensors. */
const answerBytesMax = 64 * 1024 * 1024;
/** Most that is kept of what it complains of, in bytes. */
const complaintBytesMax = 64 * 1024;

/** Has glibc ask for huge pages: a model of 100 MB takes 50 ms to load instead of 120, most of which went into finding 4 KiB at a time. */
const hugePages = 'glibc.malloc.hugetlb=1';

const tensorSchema = z.strictObject({
  name: z.string(),
  type: z.enum(tensorTypes),
  shape: z.array(z.int().nonnegative()),
  /** The elements: as they lie in memory, in base64, or the texts of a `string` tensor. */
  data: z.union([z.string(), z.array(z.string())]),
});

const answerSchema = z.strictObject({
  /** One a load; fewer where one of them failed. */
  loads: z.array(
    z.strictObject({
      /** Shapes of the outputs, by name; `[]` where the runtime cannot tell, and for a single value. */
      shapes: z.record(z.string(), z.array(z.union([z.number(), z.string()]))),
      /** What came of each request. */
      outputs: z.array(z.array(tensorSchema)),
    }),
  ),
  /** Why the step after those could not be done. */
  failure: z.strictObject({ step: z.enum(['load', 'run']), reason: z.string() }).optional(),
});

/** A tensor on its way to the process or back. */
export type RuntimeTensor = z.infer<typeof tensorSchema>;
export type RuntimeAnswer = z.infer<typeof answerSchema>;

/** What the process does: loads models one after the other, and sends each of them all requests. */
export interface RuntimeOrder {
  readonly loads: readonly {
    readonly file: string;
    /** What is loaded in its place, in base64: the file without weights, which lie in the file. */
    readonly mapped?: string;
    /** How far the graph is optimised. @see https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html */
    readonly level: 'disabled' | 'basic' | 'extended' | 'all';
    /** Where the optimised graph is written to; such a load is sent no requests. */
    readonly saveTo?: string;
  }[];
  /** Each one a tensor an input. */
  readonly requests: readonly (readonly RuntimeTensor[])[];
}

/** What the process may take. */
export interface RuntimeLimits {
  readonly timeoutMs: number;
  readonly memoryBytes: number;
  readonly signal?: AbortSignal;
}

/**
 * Has ONNX Runtime work in a process of its own with a time and a memory limit, so that a model that crashes the runtime, never ends or
 * eats all memory hurts nobody. Where memory is short on the whole machine, the system ends that process first.
 * @returns what was done; a process that ended otherwise has a failure that says how
 */
export async function askRuntime(order: RuntimeOrder, limits: RuntimeLimits): Promise<RuntimeAnswer> {
  const { timeoutMs, signal } = limits;
  signal?.throwIfAborted();
  const runtime = createRequire(import.meta.url).resolve('onnxruntime-node');
  // The source of the function, so that the published bundle needs no second file for it.
  const node = [process.execPath, '--eval', `(${workInThisProcess.toString()})()`, '--', runtime] as const;
  const [command, ...args] = limited(node, limits);
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn(command, args, {
    // The runtime would send telemetry to its maker otherwise.
    env: { GLIBC_TUNABLES: hugePages, ...process.env, ORT_DISABLE_TELEMETRY: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    // A process that ends early does not read what it is told; its end says why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(JSON.stringify(order));
    const [answer, complaint, end] = await Promise.all([
      collectText(child.stdout, answerBytesMax),
      collectText(child.stderr, complaintBytesMax),
      waitForEnd(child),
    ]);
    signal?.throwIfAborted();
    if (late) return failed(`it was not done after ${timeoutMs} ms, the longest it may take`);
    return parseAnswer(answer) ?? failed(`the runtime ended with ${end}${complaint && `: ${complaint.trim()}`}`);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
  }
}

function failed(reason: string): RuntimeAnswer {
  return { loads: [], failure: { step: 'load', reason } };
}

/** A process that crashed has printed nothing, or not all. */
function parseAnswer(text: string): RuntimeAnswer | undefined {
  if (text.length > answerBytesMax) return failed(`its answer has over ${answerBytesMax} bytes, fewer were wanted`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { data, error } = answerSchema.safeParse(value);
  return data ?? failed(`the runtime gave what is no tensor: ${messageOf(error)}`);
}

/** What the process does; it stands alone, since only its source goes there. */
async function workInThisProcess(): Promise<void> {
  const runtime = process.argv.at(-1) ?? '';
  const { InferenceSession, Tensor } = process.getBuiltinModule('node:module').createRequire(runtime)(runtime);
  const arrays: Readonly<Record<string, new (buffer: ArrayBuffer) => { readonly length: number }>> = {
    bool: Uint8Array,
    float16: Uint16Array,
    float32: Float32Array,
    float64: Float64Array,
    int16: Int16Array,
    int32: Int32Array,
    int64: BigInt64Array,
    int8: Int8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
    uint64: BigUint64Array,
    uint8: Uint8Array,
  };
  const toRuntime = ({ type, shape, data }: RuntimeTensor): unknown => {
    if (typeof data !== 'string') return new Tensor('string', data, shape);
    const bytes = Uint8Array.from(Buffer.from(data, 'base64'));
    const elements = new (arrays[type] ?? Uint8Array)(bytes.buffer);
    // onnxruntime-node 1.30 takes float16 as raw halves only, from an object that looks like a tensor.
    if (type === 'float16') return { type, dims: shape, data: elements, location: 'cpu', size: elements.length };
    return new Tensor(type, elements, shape);
  };
  const fromRuntime = (
    name: string,
    { type, dims, data }: { type: RuntimeTensor['type']; dims: number[]; data: Uint8Array | string[] },
  ): RuntimeTensor => {
    if (Array.isArray(data)) return { name, type, shape: dims, data };
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    return { name, type, shape: dims, data: bytes.toString('base64') };
  };
  const answer: RuntimeAnswer = { loads: [] };
  let step: 'load' | 'run' = 'load';
  try {
    const { json } = process.getBuiltinModule('node:stream/consumers');
    const { loads, requests } = (await json(process.stdin)) as RuntimeOrder;
    for (const { file, mapped, level, saveTo } of loads) {
      step = 'load';
      // What such a model names lies in the folder that the process is in.
      if (mapped !== undefined) process.chdir(process.getBuiltinModule('node:path').dirname(file));
      const session = await InferenceSession.create(mapped === undefined ? file : Buffer.from(mapped, 'base64'), {
        graphOptimizationLevel: level,
        logSeverityLevel: 4,
        // What is run here is run once: a pool of threads takes longer to begin with.
        intraOpNumThreads: 1,
        ...(saveTo !== undefined && { optimizedModelFilePath: saveTo }),
      });
      const metadata: readonly { name: string; shape?: (number | string)[] }[] = session.outputMetadata;
      const shapes = Object.fromEntries(metadata.map(({ name, shape = [] }) => [name, shape]));
      const outputs: RuntimeTensor[][] = [];
      step = 'run';
      for (const request of saveTo === undefined ? requests : []) {
        const results = await session.run(Object.fromEntries(request.map((feed) => [feed.name, toRuntime(feed)])));
        outputs.push(session.outputNames.map((name: string) => fromRuntime(name, results[name])));
      }
      answer.loads.push({ shapes, outputs });
      await session.release();
    }
  } catch (error) {
    answer.failure = { step, reason: error instanceof Error ? error.message : String(error) };
  }
  process.stdout.write(JSON.stringify(answer), () => process.exit(0));
}

/**
 * Puts before a command what keeps it from more data and processor time than that, from a core file, and from outliving others where
 * memory is short; nothing where there is no such thing. The processor's time bounds it when this process is killed meanwhile.
 */
function limited(
  command: readonly [string, ...string[]],
  { timeoutMs, memoryBytes }: RuntimeLimits,
): readonly [string, ...string[]] {
  if (process.platform !== 'linux') return command;
  const script = [
    'ulimit -c 0 && ulimit -d "$0" && ulimit -t "$1"',
    '{ echo 1000 > /proc/self/oom_score_adj; } 2> /dev/null || true',
    'shift && exec "$@"',
  ].join(' && ');
  const seconds = Math.ceil(timeoutMs / 1000) * availableParallelism();
  return ['/bin/sh', '-c', script, String(Math.ceil(memoryBytes / 1024)), String(seconds), ...command];
}

async function collectText(stream: NodeJS.ReadableStream, bytesMax: number): Promise<string> {
  const pieces: string[] = [];
  let length = 0;
  for await (const piece of stream.setEncoding('utf8')) {
    if (length <= bytesMax) pieces.push(String(piece));
    length += String(piece).length;
  }
  return pieces.join('');
}

function waitForEnd(child: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.once('error', reject);
  child.once('close', (code, signal) => resolve(signal ?? `exit code ${code ?? 'none'}`));
  return promise;
}
