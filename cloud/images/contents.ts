import { z } from 'zod';
import type { Digest } from '../../shared/digest.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { type Image, type ImageLayer, type LayerKind, layerKinds } from './image.ts';
import { layerProperty } from './sbom.ts';

/** A layer of an image with what it is, in words, and the ids of the other images that have it. */
export interface DescribedLayer extends ImageLayer {
  readonly what: string;
  readonly sharedWith: readonly string[];
}

/** Something in an image that was made elsewhere, as its SBOM has it. */
export interface ListedComponent {
  readonly layer: LayerKind;
  readonly name: string;
  readonly version: string;
  /** SPDX expression, or what else its author writes. */
  readonly license?: string;
  /** Whether a hash of its package is known. */
  readonly locked: boolean;
}

/** Says what each layer of an image is and which other images have it too. */
export function describeLayers(database: WorkspaceDatabase, image: Image): readonly DescribedLayer[] {
  return image.layers.map((layer) => ({
    ...layer,
    what: layerText(layer, image),
    sharedWith: imagesOf(database, layer.digest).filter((id) => id !== `${image.name}:${image.version}`),
  }));
}

function layerText({ kind, model = '' }: ImageLayer, { script }: Image): string {
  const app = script === null ? 'what is served' : `what is served, and the script ${script}`;
  const texts = {
    base: 'Node and its libraries',
    engine: 'scoring server, ONNX Runtime, SQLite',
    model,
    optimized: `${model}, optimised`,
    app,
  };
  return texts[kind];
}

function imagesOf(database: WorkspaceDatabase, layer: Digest): readonly string[] {
  const ids = database
    .prepare(
      `SELECT DISTINCT name || ':' || version FROM images, json_each(images.layers) AS layer
       WHERE layer.value ->> 'digest' = ? ORDER BY name, version`,
    )
    .pluck()
    .all(layer);
  return z.array(z.string()).parse(ids);
}

const licenseSchema = z.union([
  z.looseObject({ expression: z.string() }),
  z.looseObject({ license: z.looseObject({ id: z.string().optional(), name: z.string().optional() }) }),
]);
const documentSchema = z.looseObject({
  components: z.array(
    z.looseObject({
      type: z.string(),
      name: z.string(),
      version: z.string(),
      licenses: z.array(licenseSchema).optional(),
      hashes: z.array(z.unknown()).optional(),
      properties: z.array(z.looseObject({ name: z.string(), value: z.string() })).optional(),
    }),
  ),
});

/**
 * Reads what an image's SBOM lists, but for its models.
 * @throws {FerryError} IMAGE_NOT_FOUND or WORKSPACE_CORRUPT when the SBOM is not there or not as it was written
 */
export async function listComponents(layout: LayoutStore, image: Image): Promise<readonly ListedComponent[]> {
  const artifact = await layout.readManifest(image.name, image.sbom);
  const document = artifact?.kind === 'manifest' ? artifact.manifest.layers[0] : undefined;
  if (document === undefined) return [];
  const { components } = documentSchema.parse(
    JSON.parse(Buffer.from(await layout.readBlob(document.digest)).toString()),
  );
  return components.flatMap(({ type, name, version, licenses = [], hashes = [], properties = [] }) => {
    const place = properties.find((property) => property.name === layerProperty)?.value;
    const layer = layerKinds.find((kind) => kind === place);
    if (layer === undefined || type === 'machine-learning-model') return [];
    const license = licenses.map(licenseText).join(', ');
    return [{ layer, name, version, ...(license !== '' && { license }), locked: hashes.length > 0 }];
  });
}

function licenseText(found: z.infer<typeof licenseSchema>): string {
  const { expression, license } = found as { expression?: string; license?: { id?: string; name?: string } };
  return expression ?? license?.id ?? license?.name ?? '';
}
