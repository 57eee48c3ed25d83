import { z } from 'zod';
import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { formatVersionedName, type VersionedName } from '../../shared/model/name.ts';
import { digestSchema } from '../../shared/oci/descriptor.ts';
import { type Condition, listConditions, type ListFilter, whereClause } from '../models/label-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { json, pairsSchema } from '../workspace/rows.ts';
import { type Flavor, flavors } from './flavor.ts';

/** The layers of every image, from rarely to often changed. */
export const layerKinds = ['base', 'engine', 'model', 'optimized', 'app'] as const;

export type LayerKind = (typeof layerKinds)[number];

/** A layer of an image and what it is for. */
const layerSchema = z.strictObject({
  kind: z.enum(layerKinds),
  digest: digestSchema,
  sizeBytes: z.int().nonnegative(),
  /** Id of the model that a layer holds, or the optimised graph of. */
  model: z.string().optional(),
  /** Of a layer of a pulled base. @default an uncompressed tar */
  mediaType: z.string().optional(),
  /** Digest of its content where it is compressed. @default its own digest */
  contentDigest: digestSchema.optional(),
  /** Absent where the image is for one platform only. */
  platform: z.string().optional(),
});

export type ImageLayer = z.infer<typeof layerSchema>;

/** A version of an image. */
export interface Image {
  readonly name: string;
  readonly version: number;
  /** Digest of its manifest, or of its index where it is for several platforms; images are deployed by it. */
  readonly digest: Digest;
  /** Digest of the manifest of its SBOM, an artifact that refers to it. */
  readonly sbom: Digest;
  /** `linux/amd64`; several with `,` between, sorted. */
  readonly platform: string;
  readonly flavor: Flavor;
  /** Name of the file of its scoring script; null where it serves its models as they are. */
  readonly script: string | null;
  readonly layers: readonly ImageLayer[];
  /** Ids of its models, sorted. */
  readonly models: readonly string[];
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly properties: Readonly<Record<string, string>>;
  /** ISO 8601 in UTC, as all times here. */
  readonly createdAt: string;
  readonly modifiedAt: string;
}

const rowSchema = z
  .object({
    name: z.string(),
    version: z.int(),
    digest: digestSchema,
    sbom: digestSchema,
    platform: z.string(),
    flavor: z.enum(flavors),
    script: z.string().nullable(),
    layers: json(z.array(layerSchema)),
    models: json(z.array(z.string())),
    description: z.string(),
    tags: json(pairsSchema),
    properties: json(pairsSchema),
    created_at: z.iso.datetime(),
    modified_at: z.iso.datetime(),
  })
  .transform(({ created_at: createdAt, modified_at: modifiedAt, models, ...row }): Image => ({
    ...row,
    models: models.sort(),
    createdAt,
    modifiedAt,
  }));

const selectImages = `
  SELECT images.*, (
    SELECT json_group_array(model_name || ':' || model_version) FROM image_models
    WHERE image_name = images.name AND image_version = images.version
  ) AS models FROM images`;

/** Inserts an image's row and what models it holds; to be called inside of the transaction that takes its version. */
export function insertImage(
  database: WorkspaceDatabase,
  image: Image,
  models: readonly { readonly name: string; readonly version: number }[],
): void {
  database
    .prepare(
      `INSERT INTO images (name, version, digest, sbom, platform, flavor, script, layers, description, tags, properties, created_at, modified_at)
       VALUES (@name, @version, @digest, @sbom, @platform, @flavor, @script, @layers, @description, @tags, @properties, @createdAt, @modifiedAt)`,
    )
    .run({
      ...image,
      layers: JSON.stringify(image.layers),
      models: undefined,
      tags: JSON.stringify(image.tags),
      properties: JSON.stringify(image.properties),
    });
  const addModel = database.prepare('INSERT INTO image_models VALUES (?, ?, ?, ?)');
  for (const model of models) addModel.run(image.name, image.version, model.name, model.version);
}

/** Gives the latest version of an image, or undefined where there is none of the name. */
export function latestImage(database: WorkspaceDatabase, name: string): Image | undefined {
  const row = database.prepare(`${selectImages} WHERE name = ? ORDER BY version DESC LIMIT 1`).get(name);
  return row === undefined ? undefined : rowSchema.parse(row);
}

/**
 * Finds a version of an image, the latest one where none is named.
 * @throws {FerryError} IMAGE_NOT_FOUND when there is none
 */
export function findImage(database: WorkspaceDatabase, wanted: VersionedName): Image {
  const { name, version } = wanted;
  const row = database
    .prepare(`${selectImages} WHERE name = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1`)
    .get(name, version ?? null, version ?? null);
  if (row !== undefined) return rowSchema.parse(row);
  const versions = database.prepare('SELECT version FROM images WHERE name = ? ORDER BY version').pluck().all(name);
  const found =
    versions.length === 0 ? 'no image has this name' : `of this name there is version ${versions.join(', ')}`;
  throw new FerryError('IMAGE_NOT_FOUND', `Cannot find the image "${formatVersionedName(wanted)}": ${found}`, {
    next: 'See what there is with `ferry image list`.',
  });
}

/** What is looked for among images; all of it must hold. */
export interface ImageFilter extends ListFilter {
  /** A model that the image holds, in this or in any version. */
  readonly model?: VersionedName;
  readonly digest?: string;
}

/** Gives the images that a filter lets through, by name, the latest version of each first. */
export function listImages(database: WorkspaceDatabase, filter: ImageFilter = {}): readonly Image[] {
  const { sql, values } = whereClause([
    ...listConditions('images', filter),
    ...(filter.model === undefined ? [] : [modelCondition(filter.model)]),
    ...(filter.digest === undefined ? [] : [{ sql: 'images.digest = ?', values: [filter.digest] }]),
  ]);
  return database
    .prepare(`${selectImages} ${sql} ORDER BY name, version DESC`)
    .all(values)
    .map((row) => rowSchema.parse(row));
}

function modelCondition({ name, version }: VersionedName): Condition {
  const exists = 'EXISTS (SELECT 1 FROM image_models WHERE image_name = images.name AND image_version = images.version';
  return version === undefined
    ? { sql: `${exists} AND model_name = ?)`, values: [name] }
    : { sql: `${exists} AND model_name = ? AND model_version = ?)`, values: [name, version] };
}

/** Gives some other images that have a layer, by name. */
export function imagesWithLayer(database: WorkspaceDatabase, digest: Digest, otherThan: string): readonly string[] {
  const names = database
    .prepare(
      `SELECT DISTINCT name FROM images, json_each(images.layers) AS layer
       WHERE layer.value ->> 'digest' = ? AND name <> ? ORDER BY name LIMIT 3`,
    )
    .pluck()
    .all(digest, otherThan);
  return z.array(z.string()).parse(names);
}
