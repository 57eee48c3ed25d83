import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram } from '../../shared/programs.ts';
import { enginePackageNames } from './engine-packages.ts';
import { packagesOf } from './npm-packages.ts';
import { type Component, npmComponent } from './sbom.ts';

/** The scoring server as one module, and the files that it was made of. */
export interface ServerBundle {
  readonly content: Uint8Array;
  readonly inputs: readonly string[];
  /** The npm packages in it; none are known of what was published. */
  readonly components: readonly Component[];
}

/** CommonJS packages inside of the bundle call `require` for Node's own modules, which an ES module does not have. */
const banner = `import { createRequire as createRequireOfBundle } from 'node:module';
const require = createRequireOfBundle(import.meta.url);`;

/** Gives the scoring server as one module: as it was published, or bundled from its source in a checkout. */
export async function bundleServer(): Promise<ServerBundle> {
  const program = findProgram('scoring');
  if (program.bundled) return { content: await readFile(program.path), inputs: [program.path], components: [] };
  // The checkout's root: paths in the bundle are relative to it, so that the same sources give the same bytes anywhere.
  const root = dirname(dirname(dirname(program.path)));
  const { build } = await import('esbuild');
  const result = await build({
    absWorkingDir: root,
    entryPoints: [program.path],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: [...enginePackageNames],
    banner: { js: banner },
    logLevel: 'silent',
  });
  const [output] = result.outputFiles;
  if (output === undefined) throw new Error('esbuild gave no output');
  const inputs = Object.keys(result.metafile.inputs).map((path) => join(root, path));
  return { content: output.contents, inputs, components: packagesOf(inputs).map(npmComponent) };
}
