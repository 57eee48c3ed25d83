import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** An npm package as it is installed. */
export interface NpmPackage {
  readonly folder: string;
  readonly name: string;
  readonly version: string;
  /** As its author writes it, mostly an SPDX expression. */
  readonly license?: string;
}

const packageSchema = z.looseObject({
  name: z.string(),
  version: z.string(),
  // Old packages have an object, or a list of them.
  license: z.union([z.string(), z.looseObject({ type: z.string() })]).optional(),
});

/** Gives the npm packages that files belong to, each once, by folder. */
export function packagesOf(files: readonly string[]): readonly NpmPackage[] {
  const folders = files.flatMap((file) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? []);
  return [...new Set(folders)].sort().map(readPackage);
}

/** Reads what the package in a folder says of itself. */
export function readPackage(folder: string): NpmPackage {
  const { name, version, license } = packageSchema.parse(
    JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')),
  );
  const text = typeof license === 'string' ? license : license?.type;
  return { folder, name, version, ...(text !== undefined && { license: text }) };
}

/** Gives the first file of native code that a package brings, or undefined. */
export function nativeFileOf({ folder }: NpmPackage): string | undefined {
  return globSync('{**/*.node,binding.gyp}', { cwd: folder, exclude: ['node_modules/**'] }).sort()[0];
}
