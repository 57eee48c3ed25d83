import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../shared/durable-file.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import {
  type Compute,
  type Endpoints,
  type Secrets,
  secretsSchema,
  type WorkspaceConfig,
  workspaceConfigSchema,
  workspaceFormat,
} from './config.ts';
import { openDatabase, type WorkspaceDatabase } from './database.ts';

/** The folder that makes its parent a workspace. */
const folderName = '.ferry';

/** The subscription of a workspace that belongs to none. */
const noSubscription = '00000000-0000-0000-0000-000000000000';

/** Names and endpoints that a new workspace starts with. */
export interface WorkspaceDefaults {
  readonly name: string;
  /** @default the zero GUID */
  readonly subscription?: string;
  /** @default 'local' */
  readonly resourceGroup?: string;
}

/**
 * A workspace: the folder `.ferry/` with its configuration, its database, its secrets and its artifacts.
 * The configuration is read once; {@link Workspace.setEndpoints} is the only thing that changes it.
 */
export class Workspace implements Disposable {
  /** Absolute path of `.ferry/`. */
  readonly folder: string;
  /** Absolute path of the OCI image layout that holds models and images. */
  readonly layoutFolder: string;
  #config: WorkspaceConfig;
  #database: WorkspaceDatabase | undefined;

  private constructor(folder: string, config: WorkspaceConfig) {
    this.folder = folder;
    this.layoutFolder = join(folder, 'oci');
    this.#config = config;
  }

  /**
   * Finds the workspace of a folder, in it or in one above it.
   * @param from folder to start from; a path that ends in `.ferry` is taken as it is
   * @throws {FerryError} WORKSPACE_NOT_FOUND, WORKSPACE_TOO_NEW or WORKSPACE_CORRUPT
   */
  static async open(from: string): Promise<Workspace> {
    const folder = findFolder(resolve(from));
    if (folder === undefined) {
      throw new FerryError(
        'WORKSPACE_NOT_FOUND',
        `Cannot find a workspace: neither "${resolve(from)}" nor a folder above it has a "${folderName}"`,
        { next: 'Make one with `ferry workspace init`.' },
      );
    }
    const workspace = new Workspace(folder, await readConfig(join(folder, 'workspace.json')));
    const { caFile } = workspace.#config.endpoints;
    // Loading TLS takes 25 ms, which a workspace without it does without.
    if (caFile !== undefined) (await import('../../shared/tls-trust.ts')).trustAlso(caFile);
    return workspace;
  }

  /**
   * Makes a workspace in a folder.
   * @throws {FerryError} WORKSPACE_EXISTS when the folder has one
   */
  static async create(parent: string, defaults: WorkspaceDefaults): Promise<Workspace> {
    const folder = join(resolve(parent), folderName);
    if (existsSync(join(folder, 'workspace.json'))) {
      throw new FerryError('WORKSPACE_EXISTS', `Cannot make a workspace in "${resolve(parent)}": it has one already`);
    }
    const config = workspaceConfigSchema.parse({
      formatVersion: workspaceFormat,
      name: defaults.name,
      subscription: defaults.subscription ?? noSubscription,
      resourceGroup: defaults.resourceGroup ?? 'local',
      endpoints: {},
    });
    await mkdir(folder, { recursive: true });
    openDatabase(join(folder, 'workspace.db')).close();
    await writeJson(join(folder, 'workspace.json'), config);
    return new Workspace(folder, config);
  }

  get config(): WorkspaceConfig {
    return this.#config;
  }

  /** Azure ML's name of a workspace in paths and rows: `<subscription>/<resource group>/<name>`. */
  get scope(): string {
    const { subscription, resourceGroup, name } = this.#config;
    return `${subscription}/${resourceGroup}/${name}`;
  }

  /** The workspace's database, opened at first use. */
  get database(): WorkspaceDatabase {
    this.#database ??= openDatabase(join(this.folder, 'workspace.db'));
    return this.#database;
  }

  /** Reads the secrets; a workspace without any gives an empty set. */
  async secrets(): Promise<Secrets> {
    const path = join(this.folder, 'secrets.json');
    if (!existsSync(path)) return {};
    return parseJson(path, await readFile(path, 'utf8'), secretsSchema);
  }

  /** Replaces all endpoints and secrets; the secrets are written first, so that no endpoint stands without its own. */
  async setEndpoints(endpoints: Endpoints, secrets: Secrets): Promise<void> {
    const config = workspaceConfigSchema.parse({ ...this.#config, endpoints });
    const secretsPath = join(this.folder, 'secrets.json');
    if (Object.keys(secrets).length === 0) await rm(secretsPath, { force: true });
    else await writeJson(secretsPath, secretsSchema.parse(secrets), 0o600);
    await writeJson(join(this.folder, 'workspace.json'), config);
    this.#config = config;
  }

  /** Replaces all computes. */
  async setComputes(computes: Readonly<Record<string, Compute>>): Promise<void> {
    const config = workspaceConfigSchema.parse({ ...this.#config, computes });
    await writeJson(join(this.folder, 'workspace.json'), config);
    this.#config = config;
  }

  [Symbol.dispose](): void {
    this.#database?.close();
    this.#database = undefined;
  }
}

/** Gives the name that a workspace has when none is given: that of the folder it is made in. */
export function defaultName(parent: string): string {
  return basename(resolve(parent)) || 'workspace';
}

function findFolder(from: string): string | undefined {
  if (from.endsWith(`/${folderName}`) && existsSync(join(from, 'workspace.json'))) return from;
  for (let at = from; ; at = dirname(at)) {
    const folder = join(at, folderName);
    if (existsSync(join(folder, 'workspace.json'))) return folder;
    if (dirname(at) === at) return undefined;
  }
}

async function readConfig(path: string): Promise<WorkspaceConfig> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${path}": ${systemCodeOf(cause)}`, { cause });
  });
  const format = parseJson(path, text, z.looseObject({ formatVersion: z.int() })).formatVersion;
  if (format > workspaceFormat) {
    throw new FerryError(
      'WORKSPACE_TOO_NEW',
      `Cannot open "${path}": its format is version ${format}, ${workspaceFormat} at most was wanted`,
      { next: 'Use a newer version of ferry.' },
    );
  }
  return parseJson(path, text, workspaceConfigSchema);
}

function parseJson<T>(path: string, text: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    const found = cause instanceof z.ZodError ? z.prettifyError(cause) : 'it is no JSON';
    throw new FerryError('WORKSPACE_CORRUPT', `Cannot use "${path}": ${found}`, {
      next: 'Mend the file, or restore it from a backup.',
    });
  }
}

async function writeJson(path: string, value: unknown, mode = 0o644): Promise<void> {
  await writeDurably(path, `${JSON.stringify(value, undefined, 2)}\n`, { mode });
}
