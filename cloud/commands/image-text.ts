import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';
import { type CommandResult, pairsText } from '../cli/result.ts';
import { type DescribedLayer, describeLayers, listComponents, type ListedComponent } from '../images/contents.ts';
import type { Image } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { idOf } from './versioned-verbs.ts';

/** How many images a layer's line names; the rest it counts. */
const namedImagesMax = 3;

/** An image as a document, with its id and the reference that it is deployed by. */
export type ImageDocument = Image & { readonly id: string; readonly reference: string };

/** What a command prints of one thing. */
type Described<T extends object> = CommandResult & { readonly json: T };

/** Gives an image as a document. */
export function documentOf(workspace: Workspace, image: Image): ImageDocument {
  const { registry } = workspace.config.endpoints;
  const place = registry === undefined ? image.name : `${registry}/${image.name}`;
  return { id: idOf(image), reference: `${place}@${image.digest}`, ...image };
}

/** Describes an image, with its layers. */
export function describeImage(
  workspace: Workspace,
  image: Image,
  usedBy: readonly string[] = [],
): Described<ImageDocument> {
  const document = documentOf(workspace, image);
  const text = fields({
    image: document.id,
    reference: document.reference,
    platform: image.platform,
    flavor: image.flavor,
    models: image.models.join(', ') || undefined,
    script: image.script ?? undefined,
    description: image.description || undefined,
    tags: pairsText(image.tags) || undefined,
    properties: pairsText(image.properties) || undefined,
    SBOM: image.sbom,
    'used by': usedBy.join(', ') || undefined,
    created: image.createdAt,
  });
  return { json: document, text: `${text}\n\n${layersText(describeLayers(workspace.database, image))}` };
}

/** Tells what is in an image: its layers with what they are and who has them too, and what was made elsewhere. */
export async function imageContents(workspace: Workspace, image: Image): Promise<Described<object>> {
  const components = await listComponents(await LayoutStore.open(workspace.layoutFolder), image);
  return {
    json: { layers: describeLayers(workspace.database, image), components },
    text: componentsText(components),
  };
}

function layersText(layers: readonly DescribedLayer[]): string {
  return table(
    ['layer', 'size', 'what', 'also in', 'digest'],
    layers.map(({ kind, platform = '', sizeBytes, what, sharedWith, digest }) => [
      `${platform} ${kind}`.trim(),
      bytesText(sizeBytes),
      what,
      imagesText(sharedWith),
      digest,
    ]),
  );
}

function imagesText(ids: readonly string[]): string {
  const named = ids.slice(0, namedImagesMax).join(', ');
  return ids.length > namedImagesMax ? `${named} and ${ids.length - namedImagesMax} more` : named;
}

function componentsText(components: readonly ListedComponent[]): string {
  return table(
    ['component', 'version', 'license', 'locked', 'in layer'],
    components.map(({ name, version, license = '', locked, layer }) => [
      name,
      version,
      license,
      locked ? 'yes' : '',
      layer,
    ]),
  );
}
