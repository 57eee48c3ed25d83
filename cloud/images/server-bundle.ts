import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram } from '../../shared/programs.ts';
import { enginePackageNames, npmPackage } from './engine-packages.ts';
import type { Component } from './sbom.ts';

/** A program of the image as one module, and the files that it was made of. */
export interface ServerBundle {
  readonly content: Uint8Array;
  readonly inputs: readonly string[];
  /** The npm packages in it; none are known of what was published. */
  readonly components: readonly Component[];
}

/** CommonJS packages inside of the bundle call `require` for Node's own modules, which an ES module does not have. */
const banner = `import { createRequire as createRequireOfBundle } from 'node:module';
const require = createRequireOfBundle(import.meta.url);`;

/**
 * Gives the scoring server, or what it uploads with, as one module: as it was published, or bundled from its source in a
 * checkout.
 */
export async function bundleServer(name: 'scoring' | 'upload'): Promise<ServerBundle> {
  const program = findProgram(name);
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
  return { content: output.contents, inputs, components: packagesOf(inputs) };
}

/** Gives the npm packages that files belong to. */
function packagesOf(files: readonly string[]): readonly Component[] {
  const folders = files.flatMap((file) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []);
  return [...new Set(folders)].sort().map(npmPackage);
}
