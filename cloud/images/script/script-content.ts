import { dirname } from 'node:path';
import { scriptPath } from '../../../shared/model/script.ts';
import type { LayerEntry } from '../../../shared/oci/tar-layer.ts';
import type { Component } from '../sbom.ts';
import { bundleName, bundleScript, mapName, type ScriptBundle } from './bundle-script.ts';
import { type IncludedFile, includedFiles } from './included-files.ts';
import { lockedPackages } from './locked-packages.ts';

/** A script that is to answer for an image. */
export interface ScriptRequest {
  readonly path: string;
  /** Files and folders that it reads at run time; they lie below its folder. */
  readonly include: readonly string[];
}

/** What a script brings into an image. */
export interface ScriptContent {
  readonly bundle: ScriptBundle;
  readonly included: readonly IncludedFile[];
  readonly entries: readonly LayerEntry[];
  /** The npm packages in it. */
  readonly components: readonly Component[];
  /** What its author should know, a line each. */
  readonly warnings: readonly string[];
}

/**
 * Makes what a script brings into an image; that it does what a script must is not known yet, see `checkExports`.
 * @throws {FerryError} FILE_NOT_FOUND when the script or a file for it is not there
 * @throws {FerryError} SCRIPT_INVALID when it does not compile, holds native code or packages other than those locked
 */
export async function scriptContent({ path, include }: ScriptRequest): Promise<ScriptContent> {
  const bundle = await bundleScript(path);
  const { components, warnings } = lockedPackages(bundle);
  const included = await includedFiles(bundle.folder, include);
  const home = dirname(scriptPath);
  return {
    bundle,
    included,
    entries: [
      { kind: 'file', path: `${home}/${bundleName}`, content: bundle.code },
      { kind: 'file', path: `${home}/${mapName}`, content: bundle.map },
      ...included.map(({ path, file, sizeBytes }) => ({
        kind: 'file' as const,
        path: `${home}/${path}`,
        content: { file, size: sizeBytes },
      })),
    ],
    components,
    warnings: [...bundle.warnings, ...warnings],
  };
}
