import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { withDeadline } from '../deadline.ts';
import { FerryError, systemCodeOf } from '../errors.ts';
import type { RegistryCredential, RegistryCredentials } from './registry-credentials.ts';

/** The settings of {@link dockerCredentials}. */
export interface DockerCredentialsOptions {
  /** Folder of Docker's `config.json`. @default $DOCKER_CONFIG, else ~/.docker */
  readonly folder?: string;
  /** How long a credential helper may take, in milliseconds; some ask a network. @default 30_000 */
  readonly helperTimeoutMs?: number;
}

// docker/cli, cli/config/configfile and cli/config/types.
const authSchema = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
});
const configSchema = z.looseObject({
  auths: z.record(z.string(), authSchema).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
// docker/docker-credential-helpers, credentials/credentials.go.
const helperAnswerSchema = z.looseObject({ Username: z.string(), Secret: z.string() });
/** What a helper answers, on standard output, for a registry that it knows nothing of. */
const unknownToHelper = 'credentials not found in native keychain';
/** A helper's user name for a secret that is an identity token. */
const tokenUser = '<token>';
/** Docker Hub is kept under the address of its first version. */
const dockerHubKey = 'https://index.docker.io/v1/';

/**
 * Signs in as `docker login` has left it: by the registry's credential helper, by the credential store, else by what
 * `config.json` holds.
 * @throws {FerryError} FILE_UNREADABLE when `config.json` cannot be read, or a helper fails (both when it is used)
 * @see https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
export function dockerCredentials(options: DockerCredentialsOptions = {}): RegistryCredentials {
  const folder = options.folder ?? process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker');
  const path = join(folder, 'config.json');
  const timeoutMs = options.helperTimeoutMs ?? 30_000;
  return async (host, signal) => {
    const config = await readConfig(path);
    if (config === undefined) return undefined;
    const key = host === 'docker.io' ? dockerHubKey : host;
    const helper = config.credHelpers?.[key] ?? config.credsStore;
    if (helper !== undefined && helper !== '') {
      const found = await askHelper(helper, key, { timeoutMs, signal });
      if (found !== undefined) return found;
    }
    const entry = Object.entries(config.auths ?? {}).find(
      ([name]) => name === key || hostOf(name) === hostOf(key),
    )?.[1];
    return entry === undefined ? undefined : credentialOf(entry);
  };
}

async function readConfig(path: string): Promise<z.infer<typeof configSchema> | undefined> {
  try {
    return configSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOENT') return undefined;
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${path}": it is not what Docker has there`, { cause });
  }
}

/** Gives the host of a key, which is one or, from older versions, a URL. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

function credentialOf(entry: z.infer<typeof authSchema>): RegistryCredential | undefined {
  if (entry.identitytoken) return { kind: 'refresh-token', token: entry.identitytoken };
  const pair = Buffer.from(entry.auth ?? '', 'base64').toString();
  const colon = pair.indexOf(':');
  const username = colon < 0 ? entry.username : pair.slice(0, colon);
  // Docker pads some passwords with zero bytes.
  const password = colon < 0 ? entry.password : pair.slice(colon + 1).replace(/\0+$/, '');
  return username === undefined || password === undefined ? undefined : { kind: 'password', username, password };
}

async function askHelper(
  helper: string,
  key: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<RegistryCredential | undefined> {
  const program = `docker-credential-${helper}`;
  if (!/^[a-zA-Z0-9._-]+$/.test(helper)) throw helperFailed(program, 'its name is none of a program');
  const { status, output } = await withDeadline({ doing: `ask "${program}"`, timeoutMs, signal }, (signal) =>
    runHelper(program, key, signal),
  );
  if (status !== 0) {
    if (output.includes(unknownToHelper)) return undefined;
    throw helperFailed(program, `it ended with status ${status}, 0 was wanted`);
  }
  const read = helperAnswerSchema.safeParse(parseJson(output));
  if (!read.success) throw helperFailed(program, 'its answer holds no user name and secret');
  const { Username, Secret } = read.data;
  if (Username === tokenUser) return { kind: 'refresh-token', token: Secret };
  return { kind: 'password', username: Username, password: Secret };
}

function runHelper(
  program: string,
  key: string,
  signal: AbortSignal,
): Promise<{ status: number | null; output: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | null; output: string }>();
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], signal });
  const output: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => output.push(piece));
  child.on('error', (cause) =>
    reject(signal.aborted ? signal.reason : helperFailed(program, 'it cannot be run', cause)),
  );
  child.on('close', (status) => resolve({ status, output: Buffer.concat(output).toString() }));
  // A helper that ends without reading is judged by its status.
  child.stdin.on('error', () => undefined);
  child.stdin.end(key);
  return promise;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function helperFailed(program: string, why: string, cause?: unknown): FerryError {
  return new FerryError('FILE_UNREADABLE', `Cannot get a password from "${program}": ${why}`, { cause });
}
