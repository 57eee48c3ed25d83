import Database from 'better-sqlite3';
import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { digestSchema } from '../../shared/oci/descriptor.ts';
import type { VersionedName } from '../../shared/model/name.ts';
import { type Condition, labelConditions, type LabelFilter, whereClause } from '../models/label-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { json, pairsSchema } from '../workspace/rows.ts';
import type { Deployment } from './deployer.ts';
import { allSettings, type GivenSettings, type ServiceSettings } from './settings/definitions.ts';
import { completeSettings } from './settings/service-settings.ts';
import { type TargetKind, targetKinds, type TargetReference } from './target.ts';

/** What was given, of which a newer or older program may know more or less. */
const givenSchema = z
  .object(Object.fromEntries(allSettings().map(([name, { schema }]) => [name, schema.optional()])))
  .transform((given) => given as GivenSettings);

const rowSchema = z.object({
  name: z.string(),
  target: z.enum(targetKinds),
  compute: z.string().nullable(),
  image_name: z.string(),
  image_version: z.number(),
  image_digest: digestSchema,
  settings: json(givenSchema),
  deployment: json(z.record(z.string(), z.unknown())),
  description: z.string(),
  tags: json(pairsSchema),
  properties: json(pairsSchema),
  created_at: z.string(),
  updated_at: z.string(),
});

/** A service as the workspace knows it. */
export interface ServiceRecord {
  readonly name: string;
  readonly target: TargetReference;
  readonly image: { readonly name: string; readonly version: number; readonly digest: string };
  /** What the user gave; {@link settings} is this with the rest filled in. */
  readonly given: GivenSettings;
  readonly settings: ServiceSettings;
  /** Where the target has it, in its deployer's words. */
  readonly deployment: Deployment;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly properties: Readonly<Record<string, string>>;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** What is looked for among services; all of it must hold. */
export interface ServiceFilter {
  /** A model of its image: one version, or any. */
  readonly model?: VersionedName;
  readonly image?: VersionedName;
  readonly digest?: string;
  readonly target?: TargetReference;
  readonly tags?: readonly LabelFilter[];
  readonly properties?: readonly LabelFilter[];
}

/** Gives a service; undefined when there is none of that name. */
export function findService(database: WorkspaceDatabase, name: string): ServiceRecord | undefined {
  const row = database.prepare('SELECT * FROM services WHERE name = ?').get(name);
  return row === undefined ? undefined : recordOf(row);
}

/** @throws {FerryError} SERVICE_NOT_FOUND */
export function getService(database: WorkspaceDatabase, name: string): ServiceRecord {
  const found = findService(database, name);
  if (found !== undefined) return found;
  const names = database.prepare<[], string>('SELECT name FROM services ORDER BY name').pluck().all();
  const known =
    names.length === 0
      ? 'the workspace has none'
      : `one of ${names.map((known) => `"${known}"`).join(', ')} was wanted`;
  throw new FerryError('SERVICE_NOT_FOUND', `Cannot find the service "${name}": ${known}`);
}

/** Gives the services that a filter lets through, by name. */
export function listServices(database: WorkspaceDatabase, filter: ServiceFilter = {}): ServiceRecord[] {
  const { sql, values } = whereClause(conditionsOf(filter));
  return database.prepare(`SELECT * FROM services ${sql} ORDER BY name`).all(values).map(recordOf);
}

/** @throws {FerryError} SERVICE_EXISTS */
export function insertService(database: WorkspaceDatabase, record: ServiceRecord): void {
  try {
    database
      .prepare(
        `INSERT INTO services (name, target, compute, image_name, image_version, image_digest, settings, deployment, description,
           tags, properties, created_at, updated_at)
         VALUES (@name, @target, @compute, @imageName, @imageVersion, @imageDigest, @settings, @deployment, @description,
           @tags, @properties, @createdAt, @updatedAt)`,
      )
      .run(columnsOf(record));
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code === 'SQLITE_CONSTRAINT_PRIMARYKEY')
      throw serviceExists(record.name);
    throw error;
  }
}

/** Writes down what has become of a service; nothing happens when there is none of that name. */
export function replaceService(database: WorkspaceDatabase, record: ServiceRecord): void {
  database
    .prepare(
      `UPDATE services SET target = @target, compute = @compute, image_name = @imageName, image_version = @imageVersion,
         image_digest = @imageDigest, settings = @settings, deployment = @deployment, description = @description, tags = @tags,
         properties = @properties, created_at = @createdAt, updated_at = @updatedAt WHERE name = @name`,
    )
    .run(columnsOf(record));
}

/** The failure of a service's creation when its name is taken. */
export function serviceExists(name: string): FerryError {
  return new FerryError('SERVICE_EXISTS', `Cannot create the service "${name}": there is one of that name already`, {
    next: `Change it with \`ferry service update ${name}\`, or delete it first: ferry service delete ${name}`,
  });
}

/** Forgets a service; nothing happens when there is none. */
export function deleteService(database: WorkspaceDatabase, name: string): void {
  database.prepare('DELETE FROM services WHERE name = ?').run(name);
}

function conditionsOf({ model, image, digest, target, tags = [], properties = [] }: ServiceFilter): Condition[] {
  const named = (sql: string, value: string | number | undefined): Condition[] =>
    value === undefined ? [] : [{ sql, values: [value] }];
  return [
    ...named('image_name = ?', image?.name),
    ...named('image_version = ?', image?.version),
    ...named('image_digest = ?', digest),
    ...named('target = ?', target?.kind),
    ...named('compute = ?', target?.compute),
    ...modelConditions(model),
    ...labelConditions('services', { tags, properties }),
  ];
}

function modelConditions(model: VersionedName | undefined): Condition[] {
  if (model === undefined) return [];
  const version = model.version === undefined ? '' : ' AND held.model_version = ?';
  const sql = `EXISTS (SELECT 1 FROM image_models AS held WHERE held.image_name = services.image_name
    AND held.image_version = services.image_version AND held.model_name = ?${version})`;
  return [{ sql, values: model.version === undefined ? [model.name] : [model.name, model.version] }];
}

function columnsOf(record: ServiceRecord): Record<string, string | number | null> {
  const { name, target, image, description, createdAt, updatedAt } = record;
  return {
    name,
    target: target.kind,
    compute: target.compute ?? null,
    imageName: image.name,
    imageVersion: image.version,
    imageDigest: image.digest,
    settings: JSON.stringify(record.given),
    deployment: JSON.stringify(record.deployment),
    description,
    tags: JSON.stringify(record.tags),
    properties: JSON.stringify(record.properties),
    createdAt,
    updatedAt,
  };
}

function recordOf(row: unknown): ServiceRecord {
  const { image_name, image_version, image_digest, created_at, updated_at, compute, settings, ...rest } =
    rowSchema.parse(row);
  const kind: TargetKind = rest.target;
  return {
    ...rest,
    target: compute === null ? { kind } : { kind, compute },
    image: { name: image_name, version: image_version, digest: image_digest },
    given: settings,
    settings: completeSettings(kind, settings),
    createdAt: created_at,
    updatedAt: updated_at,
  };
}
