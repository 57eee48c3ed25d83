import { Digester } from '../../shared/digest.ts';
import {
  type ImageSample,
  imageSampleBytesMax,
  type ServiceConfig,
  serviceConfigPath,
  serviceConfigSchema,
} from '../../shared/model/service-config.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { type LayerEntry, tarLayer, tarLayerParts } from '../../shared/oci/tar-layer.ts';
import type { Model } from '../models/model.ts';
import type { StoredLayer } from './layer-cache.ts';
import { checkExports } from './script/check-exports.ts';
import type { ScriptContent } from './script/script-content.ts';

/** What the topmost layer of an image is made of. */
export interface AppContent {
  readonly models: readonly Model[];
  readonly script: ScriptContent | undefined;
  /** What the image's flavor adds. */
  readonly entries: readonly LayerEntry[];
}

/**
 * Stores the topmost layer of an image: what the scoring server is to serve, and the script. A script that is not in the layout yet is loaded
 * once before.
 * @throws {FerryError} SCRIPT_INVALID when the script does not export what it must
 * @throws {FerryError} DISK_FULL when there is no room for it
 */
export async function appLayer(
  layout: LayoutStore,
  { models, script, entries }: AppContent,
  signal?: AbortSignal,
): Promise<StoredLayer> {
  const all = [configEntry(models, { hasScript: script !== undefined }), ...(script?.entries ?? []), ...entries];
  const digester = new Digester();
  for await (const piece of tarLayer(all)) digester.update(piece);
  const { digest, bytes } = digester.finish();
  const components = script?.components ?? [];
  const options = { expected: { digest, size: bytes }, ...(signal && { signal }) };
  const made = (await layout.blobSize(digest)) !== bytes;
  if (made && script !== undefined) {
    await checkExports(script.bundle, { included: script.included, ...(signal && { signal }) });
  }
  await layout.putBlob(tarLayerParts(all), options);
  return { digest, sizeBytes: bytes, components, made };
}

function configEntry(models: readonly Model[], { hasScript }: { readonly hasScript: boolean }): LayerEntry {
  const config: ServiceConfig = serviceConfigSchema.parse({
    schemaVersion: 1,
    models: models.map((model, at) => {
      const { name, version, format, mainPath, signature } = model;
      const sample = at === 0 && !hasScript ? imageSample(model) : undefined;
      return { name, version, format, path: mainPath, signature, ...(sample && { sample }) };
    }),
  });
  return { kind: 'file', path: serviceConfigPath, content: Buffer.from(`${JSON.stringify(config, undefined, 2)}\n`) };
}

/** Gives the sample by which a device proves the image, where the model has one with its answer that is small enough. */
function imageSample({ sample }: Model): ImageSample | undefined {
  if (sample === null || sample.output === null) return undefined;
  const { input, output } = sample;
  return JSON.stringify({ input, output }).length <= imageSampleBytesMax ? { input, output } : undefined;
}
