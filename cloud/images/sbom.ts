import { z } from 'zod';
import { digestOf } from '../../shared/digest.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
import { encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import type { Model } from '../models/model.ts';
import type { LayerKind } from './image.ts';
import type { NpmPackage } from './npm-packages.ts';

/** A part of an image that somebody else made or that was made elsewhere. */
export const componentSchema = z.strictObject({
  type: z.enum(['application', 'container', 'library', 'machine-learning-model']),
  name: z.string().min(1),
  version: z.string().min(1),
  /** Package URL, where there is one. @see https://github.com/package-url/purl-spec */
  purl: z.string().optional(),
  /** As its author writes it, mostly an SPDX expression. */
  license: z.string().optional(),
  /** Of the package that it was installed from, as npm's lock files have it: `sha512-…`. */
  integrity: z.string().optional(),
});

export type Component = z.infer<typeof componentSchema>;

/** A component, and the layer of the image that it is in. */
export type PlacedComponent = Component & { readonly layer: LayerKind };

/** OCI media type of a CycloneDX document, by which tools look for it among what refers to an image. */
const cycloneDxMediaType = 'application/vnd.cyclonedx+json';
/** CycloneDX has no word for the layer that a component is in. */
export const layerProperty = 'modelferry:layer';
/** OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage": the config of an artifact that has none. */
const emptyConfig = new TextEncoder().encode('{}');

/** What an SBOM is about. */
export interface SbomSubject {
  readonly name: string;
  /** The image's manifest or index. */
  readonly descriptor: Descriptor;
  readonly components: readonly PlacedComponent[];
  readonly models: readonly Model[];
}

/** An SBOM as an OCI artifact that refers to its image; the bytes that are stored. */
export interface SbomArtifact {
  readonly blobs: readonly Uint8Array[];
  readonly manifest: Uint8Array;
}

/**
 * Writes what an image consists of as a CycloneDX document, in an artifact that refers to the image. It follows from the image alone: no time,
 * no random serial number.
 * @see https://cyclonedx.org/docs/1.6/json/
 */
export function sbomArtifact({ name, descriptor, components, models }: SbomSubject): SbomArtifact {
  const listed = new Map<string, object>();
  for (const component of components) {
    const { type, name, version, layer } = component;
    listed.set(`${type} ${name} ${version} ${layer}`, writeComponent(component));
  }
  for (const model of models) {
    const { name, version, digest } = model;
    listed.set(`model ${name}`, {
      type: 'machine-learning-model',
      name,
      version: String(version),
      hashes: [{ alg: 'SHA-256', content: digest.slice('sha256:'.length) }],
      properties: [{ name: layerProperty, value: 'model' }],
    });
  }
  const document = encodeJson({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'container', name, version: descriptor.digest } },
    components: [...listed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, component]) => component),
  });
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: cycloneDxMediaType,
    config: { mediaType: mediaTypes.empty, digest: digestOf(emptyConfig), size: emptyConfig.byteLength },
    layers: [{ mediaType: cycloneDxMediaType, digest: digestOf(document), size: document.byteLength }],
    subject: { mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size },
  });
  return { blobs: [emptyConfig, document], manifest };
}

/** Writes a component in CycloneDX's words. */
function writeComponent({ license, integrity, layer, ...component }: PlacedComponent): object {
  return {
    ...component,
    ...(license !== undefined && { licenses: [licenseChoice(license)] }),
    ...(integrity !== undefined && { hashes: hashesOf(integrity) }),
    properties: [{ name: layerProperty, value: layer }],
  };
}

/** An id stands for itself, several are an expression, anything else (`SEE LICENSE IN …`) is a name. */
function licenseChoice(license: string): object {
  if (/^[A-Za-z0-9.+-]+$/.test(license) && license !== 'UNLICENSED') return { license: { id: license } };
  return /^[A-Za-z0-9.+()-]+( (AND|OR|WITH) [A-Za-z0-9.+()-]+)*$/.test(license)
    ? { expression: license }
    : { license: { name: license } };
}

/** Reads subresource integrity, which may name several hashes. @see https://www.w3.org/TR/SRI/ */
function hashesOf(integrity: string): object[] {
  return integrity.split(/\s+/).flatMap((hash) => {
    const [, bits, value = ''] = /^sha(256|384|512)-([A-Za-z0-9+/=]+)$/.exec(hash) ?? [];
    return bits === undefined ? [] : [{ alg: `SHA-${bits}`, content: Buffer.from(value, 'base64').toString('hex') }];
  });
}

/** Describes an npm package as a component. */
export function npmComponent(
  found: Pick<NpmPackage, 'name' | 'version' | 'license'> & Pick<Component, 'integrity'>,
): Component {
  const { name, version, license, integrity } = found;
  const escaped = name.startsWith('@') ? `%40${name.slice(1)}` : name;
  return {
    type: 'library',
    name,
    version,
    purl: `pkg:npm/${escaped}@${version}`,
    ...(license !== undefined && { license }),
    ...(integrity !== undefined && { integrity }),
  };
}
