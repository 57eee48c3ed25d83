import { existsSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import type { BuildFailure, BuildOptions, BuildResult, Message, Plugin } from 'esbuild';
import { FerryError } from '../../../shared/errors.ts';

/** A user's script as one ES module, with what it was made of. */
export interface ScriptBundle {
  /** The script as the user may name it: relative to where they stand. */
  readonly script: string;
  /** Absolute path of the script's folder, free of links; paths in the bundle are relative to it. */
  readonly folder: string;
  readonly code: Uint8Array;
  /** Source map of the code, so that what the script throws names its own lines. */
  readonly map: Uint8Array;
  /** Absolute paths of all files in it. */
  readonly inputs: readonly string[];
  /** What the bundler found odd, a line each. */
  readonly warnings: readonly string[];
}

/** File of the bundle in the folder of the image that the scoring server loads it from. */
export const bundleName = 'score.mjs';
/** File of its source map, beside it. */
export const mapName = `${bundleName}.map`;

const extensions: readonly string[] = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];
/** Most complaints of the bundler that a message holds; the rest is counted. */
const complaintsMax = 10;

/** What CommonJS modules find in Node and an ES module has not. */
const banner = `import { createRequire as createRequireOfBundle } from 'node:module';
const require = createRequireOfBundle(import.meta.url);
const __filename = import.meta.filename;
const __dirname = import.meta.dirname;`;

/**
 * Bundles a script and the npm packages that it imports. The same sources give the same bytes on any machine: paths are relative to
 * the script's folder, and nothing of the environment goes in. Types are not checked.
 * @throws {FerryError} FILE_NOT_FOUND when there is no such script
 * @throws {FerryError} SCRIPT_INVALID when it does not compile, with each place as `file:line:column`, or holds native code
 */
export async function bundleScript(path: string): Promise<ScriptBundle> {
  const file = findScript(path);
  const folder = dirname(file);
  const script = relative(process.cwd(), file);
  const name = basename(file);
  let result = await runBundler(script, folder, { entryPoints: [name] });
  if (result.metafile.inputs[name]?.format === 'cjs') {
    // A CommonJS module exports one value; the names that a script may export are taken from it.
    const contents = `import script from './${name}';\nexport const { init, run, inputs, outputs, raw } = script;\n`;
    result = await runBundler(script, folder, { stdin: { contents, resolveDir: folder, sourcefile: 'exports.js' } });
  }
  const contentOf = (wanted: string): Uint8Array => {
    const output = result.outputFiles.find((output) => basename(output.path) === wanted);
    if (output === undefined) throw new Error(`esbuild gave no "${wanted}"`);
    return output.contents;
  };
  return {
    script,
    folder,
    code: contentOf(bundleName),
    map: contentOf(mapName),
    inputs: Object.keys(result.metafile.inputs)
      .map((path) => join(folder, path))
      .filter((path) => existsSync(path)),
    warnings: result.warnings.map((warning) => messageText(warning, folder)),
  };
}

function findScript(path: string): string {
  const file = resolve(path);
  if (!extensions.includes(extname(file))) {
    throw new FerryError(
      'SCRIPT_INVALID',
      `Cannot use the script "${path}": it ends in "${extname(file)}", ${extensions.join(', ')} were wanted`,
    );
  }
  const status = statSync(file, { throwIfNoEntry: false });
  if (status === undefined) {
    throw new FerryError('FILE_NOT_FOUND', `Cannot use the script "${path}": there is no such file`);
  }
  if (status.isFile()) return realpathSync(file);
  throw new FerryError('SCRIPT_INVALID', `Cannot use the script "${path}": it is a folder, a file was wanted`);
}

type Bundled = BuildResult<{ write: false; metafile: true }>;

async function runBundler(
  script: string,
  folder: string,
  entry: Pick<BuildOptions, 'entryPoints' | 'stdin'>,
): Promise<Bundled> {
  const { build } = await import('esbuild');
  try {
    return await build({
      ...entry,
      absWorkingDir: folder,
      outfile: bundleName,
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      charset: 'utf8',
      banner: { js: banner },
      sourcemap: 'linked',
      sourcesContent: false,
      plugins: [refuseNativeCode],
      logLevel: 'silent',
      // What is named at run time only is not in the bundle: whoever writes the script should know.
      logOverride: { 'unsupported-require-call': 'warning', 'unsupported-dynamic-import': 'warning' },
    });
  } catch (error) {
    throw isBuildFailure(error) ? refusal(script, folder, error.errors) : error;
  }
}

const refuseNativeCode: Plugin = {
  name: 'refuse-native-code',
  setup(build) {
    build.onLoad({ filter: /\.node$/ }, ({ path }) => ({
      errors: [{ text: `"${basename(path)}" is native code, JavaScript was wanted` }],
    }));
  },
};

function refusal(script: string, folder: string, errors: readonly Message[]): FerryError {
  const all = [...new Set(errors.map((error) => messageText(error, folder)))];
  const complaints = all.slice(0, complaintsMax);
  const more = all.length > complaintsMax ? `; and ${all.length - complaintsMax} more` : '';
  const next = nextStep(errors);
  return new FerryError('SCRIPT_INVALID', `Cannot bundle the script "${script}": ${complaints.join('; ')}${more}`, {
    ...(next !== undefined && { next }),
  });
}

function nextStep(errors: readonly Message[]): string | undefined {
  const some = (pattern: RegExp): boolean => errors.some(({ text }) => pattern.test(text));
  if (some(/is native code/))
    return 'Run models with `models.<name>.run()` of the script; leave other native packages out.';
  if (some(/^No loader is configured/)) return 'Read the file at run time, and add it to the image with --include.';
  if (some(/^Could not resolve "[^./]/)) return "Install the script's packages beside it, with `npm ci`.";
  return undefined;
}

/** Writes what the bundler says as `file:line:column: text`, the file as seen from where the user stands. */
function messageText({ text, location }: Message, folder: string): string {
  if (location === null) return text;
  const file = relative(process.cwd(), join(folder, location.file));
  return `${file}:${location.line}:${location.column + 1}: ${text}`;
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && 'errors' in error && Array.isArray(error.errors);
}
