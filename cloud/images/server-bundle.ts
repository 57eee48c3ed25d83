import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { findProgram } from '../../shared/programs.ts';
import { builtinsByRequire, isFile } from './builtins-by-require.ts';
import { enginePackageNames } from './engine-packages.ts';
import { packagesOf } from './npm-packages.ts';
import { type Component, componentSchema, npmComponent } from './sbom.ts';

/** One module of the scoring server. */
export interface ServerModule {
  /** Its place beside the others. */
  readonly name: string;
  readonly content: Uint8Array;
}

/** The scoring server as modules, and the files that they were made of. */
export interface ServerBundle {
  /** The first is the program; the others are what it loads when it needs them. */
  readonly modules: readonly ServerModule[];
  readonly inputs: readonly string[];
  /** The npm packages in it. */
  readonly components: readonly Component[];
}

/** The program's own name, wherever it was published. */
const mainName = 'server.mjs';

/** CommonJS packages inside of the bundle call `require` for Node's own modules, which an ES module does not have. */
const banner = `import { createRequire as createRequireOfBundle } from 'node:module';
const require = createRequireOfBundle(import.meta.url);`;

/** Gives the scoring server as modules: as they were published, or bundled from their source in a checkout. */
export async function bundleServer(): Promise<ServerBundle> {
  const program = findProgram('scoring');
  if (program.bundled) return await publishedBundle(program.path);
  // The checkout's root: paths in the bundle are relative to it, so that the same sources give the same bytes anywhere.
  const root = dirname(dirname(dirname(program.path)));
  const { build } = await import('esbuild');
  const result = await build({
    absWorkingDir: root,
    entryPoints: { server: program.path },
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // gRPC and telemetry are three quarters of all bytes: a server that does not use them does not read them either.
    splitting: true,
    chunkNames: 'server-[hash]',
    outdir: 'out',
    outExtension: { '.js': '.mjs' },
    external: [...enginePackageNames],
    banner: { js: banner },
    plugins: [builtinsByRequire()],
    logLevel: 'silent',
  });
  const modules = result.outputFiles.map(({ path, contents }) => ({ name: basename(path), content: contents }));
  const inputs = Object.keys(result.metafile.inputs)
    .filter(isFile)
    .map((path) => join(root, path));
  return { modules: mainFirst(modules), inputs, components: packagesOf(inputs).map(npmComponent) };
}

/** Finds the program's modules by their names, which begin with its own. */
async function publishedBundle(path: string): Promise<ServerBundle> {
  const [folder, main] = [dirname(path), basename(path)];
  const names = (await readdir(folder)).filter((name) => name === main || /^scoring-\w+\.mjs$/.test(name));
  const modules = await Promise.all(
    names.map(async (name) => ({
      name: name === main ? mainName : name,
      content: await readFile(join(folder, name)),
    })),
  );
  const list = path.replace(/\.mjs$/, '.components.json');
  const components = z.array(componentSchema).parse(JSON.parse(await readFile(list, 'utf8')));
  const inputs = [...names.map((name) => join(folder, name)), list];
  return { modules: mainFirst(modules), inputs, components };
}

/** One order, so that the same modules make the same layer. */
function mainFirst(modules: readonly ServerModule[]): ServerModule[] {
  const rank = ({ name }: ServerModule): string => (name === mainName ? '' : name);
  return modules.toSorted((left, right) => (rank(left) < rank(right) ? -1 : 1));
}
