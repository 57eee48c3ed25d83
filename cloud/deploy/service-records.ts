import Database from 'better-sqlite3';
import { z } from 'zod';
import { collectFolders, collectFormats, defaultFiles } from '../../shared/collect/file-settings.ts';
import { FerryError } from '../../shared/errors.ts';
import { digestSchema } from '../../shared/oci/descriptor.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import { json, pairsSchema } from '../workspace/rows.ts';

const settingsSchema = z.object({
  targetCondition: z.string(),
  priority: z.number(),
  port: z.number(),
  hostAddress: z.string(),
  collect: z.boolean(),
  collectFiles: z
    .object({ format: z.enum(collectFormats), folder: z.enum(collectFolders) })
    .default({ ...defaultFiles }),
  env: pairsSchema,
  memoryMb: z.number().optional(),
});

/** Where a service on IoT Edge is in its hub. */
const deploymentSchema = z.object({ hub: z.string(), id: z.string(), image: z.string() });

const recordSchema = z.object({
  name: z.string(),
  target: z.literal('iotedge'),
  image_name: z.string(),
  image_version: z.number(),
  image_digest: digestSchema,
  settings: json(settingsSchema),
  deployment: json(deploymentSchema),
  description: z.string(),
  tags: json(pairsSchema),
  properties: json(pairsSchema),
  created_at: z.string(),
  updated_at: z.string(),
});

/** A service as the workspace knows it. */
export interface ServiceRecord {
  readonly name: string;
  readonly target: 'iotedge';
  readonly image: { readonly name: string; readonly version: number; readonly digest: string };
  readonly settings: z.infer<typeof settingsSchema>;
  readonly deployment: z.infer<typeof deploymentSchema>;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly properties: Readonly<Record<string, string>>;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Says whether there is a service of that name. */
export function hasService(database: WorkspaceDatabase, name: string): boolean {
  return database.prepare('SELECT 1 FROM services WHERE name = ?').get(name) !== undefined;
}

/** @throws {FerryError} SERVICE_NOT_FOUND */
export function getService(database: WorkspaceDatabase, name: string): ServiceRecord {
  const row = database.prepare('SELECT * FROM services WHERE name = ?').get(name);
  if (row !== undefined) return recordOf(row);
  const names = database.prepare<[], string>('SELECT name FROM services ORDER BY name').pluck().all();
  const known =
    names.length === 0
      ? 'the workspace has none'
      : `one of ${names.map((known) => `"${known}"`).join(', ')} was wanted`;
  throw new FerryError('SERVICE_NOT_FOUND', `Cannot find the service "${name}": ${known}`);
}

/** Gives all services by name. */
export function listServices(database: WorkspaceDatabase): ServiceRecord[] {
  return database.prepare('SELECT * FROM services ORDER BY name').all().map(recordOf);
}

/** @throws {FerryError} SERVICE_EXISTS */
export function insertService(database: WorkspaceDatabase, record: ServiceRecord): void {
  try {
    database
      .prepare(
        `INSERT INTO services (name, target, image_name, image_version, image_digest, settings, deployment, description, tags,
           properties, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        record.name,
        record.target,
        record.image.name,
        record.image.version,
        record.image.digest,
        JSON.stringify(record.settings),
        JSON.stringify(record.deployment),
        record.description,
        JSON.stringify(record.tags),
        JSON.stringify(record.properties),
        record.createdAt,
        record.updatedAt,
      );
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code === 'SQLITE_CONSTRAINT_PRIMARYKEY')
      throw serviceExists(record.name);
    throw error;
  }
}

/** The failure of a service's creation when its name is taken. */
export function serviceExists(name: string): FerryError {
  return new FerryError('SERVICE_EXISTS', `Cannot create the service "${name}": there is one of that name already`, {
    next: `Delete it first: ferry service delete ${name}`,
  });
}

/** Forgets a service; nothing happens when there is none. */
export function deleteService(database: WorkspaceDatabase, name: string): void {
  database.prepare('DELETE FROM services WHERE name = ?').run(name);
}

function recordOf(row: unknown): ServiceRecord {
  const { image_name, image_version, image_digest, created_at, updated_at, ...rest } = recordSchema.parse(row);
  return {
    ...rest,
    image: { name: image_name, version: image_version, digest: image_digest },
    createdAt: created_at,
    updatedAt: updated_at,
  };
}
