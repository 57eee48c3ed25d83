import { z } from 'zod';
import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { formatVersionedName, modelRepository, type VersionedName } from '../../shared/model/name.ts';
import { type Signature, signatureSchema } from '../../shared/model/signature.ts';
import { digestSchema } from '../../shared/oci/descriptor.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { json, pairsSchema } from '../workspace/rows.ts';
import { type Lineage, lineageSchema } from './lineage.ts';
import { type Sample, sampleSchema } from './sample.ts';
import type { JsonTensors } from './sample-tensors.ts';
import { listConditions, type ListFilter, whereClause } from './label-store.ts';

/** A file of a model. */
const fileSchema = z.strictObject({
  /** Below the model's folder, with `/`. */
  path: z.string().min(1),
  sizeBytes: z.int().nonnegative(),
});

/** What the model's file says of itself beside its signature. */
const metadataSchema = z.strictObject({
  irVersion: z.int(),
  opsets: z.record(z.string(), z.number()),
  producer: z.strictObject({ name: z.string(), version: z.string() }),
  graphName: z.string(),
  domain: z.string(),
  modelVersion: z.number(),
  documentation: z.string(),
  custom: z.record(z.string(), z.string()),
});

const rowSchema = z
  .object({
    name: z.string(),
    version: z.int(),
    digest: digestSchema,
    size_bytes: z.int(),
    artifact_digest: digestSchema,
    main_path: z.string(),
    files: json(z.array(fileSchema)),
    format: z.literal('onnx'),
    signature: json(signatureSchema),
    metadata: json(metadataSchema),
    lineage: json(lineageSchema),
    sample: json(sampleSchema).nullable(),
    description: z.string(),
    tags: json(pairsSchema),
    properties: json(pairsSchema),
    created_at: z.iso.datetime(),
    modified_at: z.iso.datetime(),
  })
  .transform((row): Model => ({
    name: row.name,
    version: row.version,
    digest: row.digest,
    sizeBytes: row.size_bytes,
    artifactDigest: row.artifact_digest,
    mainPath: row.main_path,
    files: row.files,
    format: row.format,
    signature: row.signature,
    metadata: row.metadata,
    lineage: row.lineage,
    sample: row.sample,
    description: row.description,
    tags: row.tags,
    properties: row.properties,
    createdAt: row.created_at,
    modifiedAt: row.modified_at,
  }));

export type ModelFile = z.infer<typeof fileSchema>;
export type ModelMetadata = z.infer<typeof metadataSchema>;

/** A registered version of a model. */
export interface Model {
  readonly name: string;
  readonly version: number;
  /** Digest of its OCI layer, which is its identity: the same files of the same name have the same one. */
  readonly digest: Digest;
  /** Of all files together. */
  readonly sizeBytes: number;
  /** Digest of the manifest of its OCI artifact. */
  readonly artifactDigest: Digest;
  /** Path of its main file in an image: `/models/<name>/<file>`. */
  readonly mainPath: string;
  readonly files: readonly ModelFile[];
  readonly format: 'onnx';
  readonly signature: Signature;
  readonly metadata: ModelMetadata;
  readonly lineage: Lineage;
  /** A request to score it and its answer, which smoke tests send and compare; null where none was given. */
  readonly sample: Sample | null;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly properties: Readonly<Record<string, string>>;
  /** ISO 8601 in UTC, as all times here. */
  readonly createdAt: string;
  readonly modifiedAt: string;
}

/**
 * Inserts a model's row; to be called inside of the transaction that takes its version.
 * @param sources how the files that it was made of looked, as `model-sources.ts` writes it
 */
export function insertModel(database: WorkspaceDatabase, model: Model, sources: string | null): void {
  database
    .prepare(
      `INSERT INTO models (name, version, digest, size_bytes, artifact_digest, main_path, files, format, signature, metadata,
         lineage, sample, description, tags, properties, created_at, modified_at, sources)
       VALUES (@name, @version, @digest, @sizeBytes, @artifactDigest, @mainPath, @files, @format, @signature, @metadata,
         @lineage, @sample, @description, @tags, @properties, @createdAt, @modifiedAt, @sources)`,
    )
    .run({
      ...model,
      files: JSON.stringify(model.files),
      signature: JSON.stringify(model.signature),
      metadata: JSON.stringify(model.metadata),
      lineage: JSON.stringify(model.lineage),
      sample: model.sample === null ? null : JSON.stringify(model.sample),
      tags: JSON.stringify(model.tags),
      properties: JSON.stringify(model.properties),
      sources,
    });
}

/**
 * Finds a version of a model, the latest one where none is named.
 * @throws {FerryError} MODEL_NOT_FOUND when there is none
 */
export function findModel(database: WorkspaceDatabase, wanted: VersionedName): Model {
  const row = database
    .prepare('SELECT * FROM models WHERE name = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1')
    .get(wanted.name, wanted.version ?? null, wanted.version ?? null);
  if (row !== undefined) return rowSchema.parse(row);
  throw new FerryError(
    'MODEL_NOT_FOUND',
    `Cannot find the model "${formatVersionedName(wanted)}": ${whatIs(database, wanted)}`,
    {
      next: 'See what there is with `ferry model list`.',
    },
  );
}

/** Gives the models that a filter lets through, by name, the latest version of each first. */
export function listModels(database: WorkspaceDatabase, filter: ListFilter = {}): readonly Model[] {
  const { sql, values } = whereClause(listConditions('models', filter));
  return database
    .prepare(`SELECT * FROM models ${sql} ORDER BY name, version DESC`)
    .all(values)
    .map((row) => rowSchema.parse(row));
}

/** What makes a version what it is. */
interface ModelContent extends Pick<Model, 'digest' | 'mainPath'> {
  /** Of its sample; any will do where none is given. */
  readonly input: JsonTensors | undefined;
}

/** Says whether a version is of this content. */
export function isOfContent(model: Model, { digest, mainPath, input }: ModelContent): boolean {
  if (model.digest !== digest || model.mainPath !== mainPath) return false;
  return input === undefined || JSON.stringify(input) === JSON.stringify(model.sample?.input);
}

/** Gives the path of a model's main file in an image. */
export function mainPathOf(name: string, main: string): string {
  return `/models/${name}/${main}`;
}

/** Where a model's OCI artifact is: repository and tag, in the workspace's layout as in its registry. */
export function artifactOf({ name, version, artifactDigest }: Pick<Model, 'name' | 'version' | 'artifactDigest'>): {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
} {
  return { repository: modelRepository(name), tag: String(version), digest: artifactDigest };
}

function whatIs(database: WorkspaceDatabase, { name, version }: VersionedName): string {
  const versions = database.prepare('SELECT version FROM models WHERE name = ? ORDER BY version').pluck().all(name);
  if (version === undefined || versions.length === 0) return 'no model has this name';
  return `of this name there is version ${versions.join(', ')}`;
}
