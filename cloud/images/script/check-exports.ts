import { readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import { scriptDeclarationSchema } from '../../../shared/model/script.ts';
import { bundleName, mapName, type ScriptBundle } from './bundle-script.ts';
import type { IncludedFile } from './included-files.ts';

/** A script's top level declares; what takes long belongs into `init`. */
const defaultTimeoutMs = 30_000;
/** Heap that a script's top level may take, in MB. */
const heapMb = 512;

/** The settings of {@link checkExports}. */
export interface CheckExportsOptions {
  readonly included: readonly IncludedFile[];
  /** How long loading may take. @default 30 s */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Loads a bundled script once, without calling it, in a process of its own with a time and a memory limit, and looks at what it exports: what
 * the scoring server would refuse is refused here, with the line.
 * @throws {FerryError} SCRIPT_INVALID when it cannot be loaded, has no `run`, or exports what a script must not
 */
export async function checkExports(bundle: ScriptBundle, options: CheckExportsOptions): Promise<void> {
  const { included, timeoutMs = defaultTimeoutMs, signal } = options;
  signal?.throwIfAborted();
  const { script } = bundle;
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'ferry-script-')));
  try {
    await layOut(folder, bundle, included);
    const answer = await loadElsewhere(join(folder, bundleName), { timeoutMs, ...(signal && { signal }) });
    const problems =
      answer.exports === undefined
        ? [loadFailure(answer, { bundle, folder, timeoutMs })]
        : exportProblems(answer.exports, bundle);
    if (problems.length === 0) return;
    throw new FerryError('SCRIPT_INVALID', `Cannot use the script "${script}": ${problems.join('; ')}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Makes the script's folder of the image, so that what it reads at its top level is there. */
async function layOut(folder: string, { code, map }: ScriptBundle, included: readonly IncludedFile[]): Promise<void> {
  await writeFile(join(folder, bundleName), code);
  await writeFile(join(folder, mapName), map);
  for (const { path, file } of included) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await copyFile(file, join(folder, path));
  }
}

/** What the child tells: what is exported, or why it could not be loaded. */
const answerSchema = z.object({
  exports: z.object({ kinds: z.record(z.string(), z.string()), declared: z.unknown() }).optional(),
  failure: z.object({ message: z.string(), stack: z.string() }).optional(),
});
type Answer = z.infer<typeof answerSchema> & { readonly end: string };

/** What the child does, as text, so that the published bundle needs no second file for it. */
const program = `
const tell = (answer) => {
  require('node:fs').writeSync(3, JSON.stringify(answer));
  process.exit(0);
};
import(process.argv.at(-1)).then(
  (exported) => {
    const present = Object.entries(exported).filter(([, value]) => value !== undefined);
    const kinds = Object.fromEntries(present.map(([name, value]) => [name, typeof value]));
    const { inputs, outputs, raw } = exported;
    tell({ exports: { kinds, declared: { inputs, outputs, raw } } });
  },
  (error) => tell({ failure: { message: String(error?.message ?? error), stack: String(error?.stack) } }),
);`;

async function loadElsewhere(
  path: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<Answer> {
  const options = ['--enable-source-maps', `--max-old-space-size=${heapMb}`, '--eval', program, '--'];
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn(process.execPath, [...options, pathToFileURL(path).href], {
    env: { ...process.env, NODE_ENV: 'production' },
    // What the script prints is not ours; the answer has a pipe of its own.
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    ...(signal && { signal }),
  });
  const { promise: ended, resolve, reject } = Promise.withResolvers<string>();
  child.once('error', reject);
  child.once('close', (code, by) => resolve(by ?? `exit code ${code ?? 'none'}`));
  const [told, end] = await Promise.all([text(child.stdio[3] as Readable), ended]);
  return { ...parseAnswer(told), end };
}

/** A child that crashed has told nothing, or not all. */
function parseAnswer(told: string): z.infer<typeof answerSchema> {
  try {
    return answerSchema.parse(JSON.parse(told));
  } catch {
    return {};
  }
}

function loadFailure(
  { failure, end }: Answer,
  { bundle, folder, timeoutMs }: { readonly bundle: ScriptBundle; readonly folder: string; readonly timeoutMs: number },
): string {
  if (failure === undefined) {
    return end === 'SIGKILL'
      ? `it was not loaded after ${timeoutMs} ms, the longest it may take; what takes time belongs into init()`
      : `loading it ended with ${end}`;
  }
  // The innermost place of the stack that is in the bundle; the source map has made it one of the script's own files.
  const place = failure.stack.split('\n').find((line) => line.includes(folder + sep));
  const [, file = '', line, column] = (place && /\(?(?:file:\/\/)?(\/[^()]+?):(\d+):(\d+)\)?$/.exec(place)) || [];
  const own = join(bundle.folder, relative(folder, file));
  return file === '' ? failure.message : `${relative(process.cwd(), own)}:${line}:${column}: ${failure.message}`;
}

function exportProblems(
  { kinds, declared }: { readonly kinds: Readonly<Record<string, string>>; readonly declared?: unknown },
  bundle: ScriptBundle,
): string[] {
  const names = Object.keys(kinds).map((name) => `"${name}"`);
  const at = (name: string): string => `${bundle.script}:${lineOf(name, bundle)}`;
  const problems = ['init', 'run'].flatMap((name) => {
    const kind = kinds[name];
    if (kind === 'function' || (kind === undefined && name === 'init')) return [];
    return kind === undefined
      ? [`${at(name)}: it exports ${names.join(', ') || 'nothing'}, a function "${name}" was wanted`]
      : [`${at(name)}: it exports "${name}" as ${kind}, a function was wanted`];
  });
  const checked = scriptDeclarationSchema.safeParse(declared);
  for (const { path, message } of checked.error?.issues ?? []) {
    const name = String(path[0] ?? 'raw');
    problems.push(`${at(name)}: ${path.length === 0 ? message : `${path.join('.')}: ${message}`}`);
  }
  return problems;
}

/** Gives the line of the script that declares a name, the first one where none does. */
function lineOf(name: string, { folder, script }: ScriptBundle): number {
  const declaration = new RegExp(
    String.raw`\b(?:function\*?|const|let|var|class)\s+${name}\b|\bexports\.${name}\b|\b${name}\s*[,}]`,
  );
  const lines = readFileSync(join(folder, script.split(sep).at(-1) ?? ''), 'utf8').split('\n');
  return (
    Math.max(
      lines.findIndex((line) => declaration.test(line)),
      0,
    ) + 1
  );
}
