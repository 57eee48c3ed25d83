import { createHmac, randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../shared/durable-file.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { ServiceSettings } from './settings/definitions.ts';

const secretsSchema = z.strictObject({
  primary: z.string(),
  secondary: z.string(),
  /** Signs tokens. */
  tokenSecret: z.string(),
  /** Content of the PEM files that the service was given, which need not be there for its next update. */
  tls: z.strictObject({ certificate: z.string(), key: z.string() }).optional(),
  /** Text of the manifest with other modules, in which registries' passwords may be. */
  modules: z.string().optional(),
});

/** What a service holds that nobody else may see. Kept in a file that its owner alone can read, never in the database. */
export type ServiceSecrets = z.infer<typeof secretsSchema>;

/** The two keys of a service, so that one is good while the other is renewed. */
export const keyNames = ['primary', 'secondary'] as const;

/** Name of a key. */
export type KeyName = (typeof keyNames)[number];

/** Bytes of a key that is made here, as base64: Azure's size. */
const keyBytes = 32;
/** The scoring server takes no shorter one. */
const keyLengthMin = 16;
const keyPattern = /^[\w+/=.~-]+$/;

/** How long a token is good, in seconds, and when a new one should be fetched: Azure ML's were good for 12 hours. */
const tokenSeconds = 43_200;
const tokenRefreshSeconds = tokenSeconds / 2;

/** A token to call a service with, by Azure ML's names. */
export interface ServiceToken {
  readonly accessToken: string;
  readonly tokenType: 'Bearer';
  /** Seconds since 1970 (UTC), as is the next. */
  readonly refreshAfter: number;
  readonly expiryOn: number;
}

/** Makes the secrets of a new service. */
export function newSecrets(): ServiceSecrets {
  return { primary: newKey(), secondary: newKey(), tokenSecret: newKey() };
}

/** Makes a key. */
export function newKey(): string {
  return randomBytes(keyBytes).toString('base64');
}

/**
 * Checks a key of the user's own.
 * @returns what is wrong, if anything; never the key
 */
export function keyProblem(key: string): string | undefined {
  if (key.length >= keyLengthMin && keyPattern.test(key)) return undefined;
  return `the key has ${key.length} characters, ${keyLengthMin} at least were wanted, letters, digits and "+/=._~-"`;
}

/** Reads the secrets of a service; undefined when it has none. */
export async function readSecrets(workspace: Workspace, service: string): Promise<ServiceSecrets | undefined> {
  const path = secretsPath(workspace, service);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const read = secretsSchema.safeParse(parsedOrUndefined(text));
  if (read.success) return read.data;
  // What stands in the file must not get into a message, not even in pieces.
  throw new FerryError('WORKSPACE_CORRUPT', `Cannot read the keys of "${service}" in "${path}": they are not whole`);
}

/** Keeps the secrets of a service. */
export async function writeSecrets(workspace: Workspace, service: string, secrets: ServiceSecrets): Promise<void> {
  await mkdir(join(workspace.folder, 'services'), { recursive: true, mode: 0o700 });
  await writeDurably(secretsPath(workspace, service), JSON.stringify(secrets), { mode: 0o600 });
}

/** Forgets the secrets of a service; nothing happens when there are none. */
export async function removeSecrets(workspace: Workspace, service: string): Promise<void> {
  await rm(secretsPath(workspace, service), { force: true });
}

/**
 * Writes the scoring server's file of who may call: the keys, the secret that tokens are signed with, or both. Undefined where
 * everybody may. Where tokens alone are good the file has a key all the same, which nobody is told.
 */
export function callersFile(settings: ServiceSettings, secrets: ServiceSecrets): string | undefined {
  const { authEnabled, tokenAuthEnabled } = settings;
  const { primary, secondary, tokenSecret } = secrets;
  if (tokenAuthEnabled) return JSON.stringify({ keys: [hiddenKey(tokenSecret)], tokenSecret });
  return authEnabled ? JSON.stringify({ keys: [primary, secondary], tokenSecret }) : undefined;
}

/** Signs a token for a service (JSON Web Token, RFC 7519; HS256). */
export function signToken(service: string, secrets: ServiceSecrets, nowMs: number): ServiceToken {
  const nowSeconds = Math.floor(nowMs / 1000);
  const expiryOn = nowSeconds + tokenSeconds;
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ aud: service, iat: nowSeconds, exp: expiryOn })}`;
  const signature = createHmac('sha256', secrets.tokenSecret).update(signed).digest('base64url');
  return {
    accessToken: `${signed}.${signature}`,
    tokenType: 'Bearer',
    refreshAfter: nowSeconds + tokenRefreshSeconds,
    expiryOn,
  };
}

/** The same for the same secret, so that a service with nothing changed stays as it is. */
function hiddenKey(tokenSecret: string): string {
  return createHmac('sha256', tokenSecret).update('hidden key').digest('base64');
}

function secretsPath(workspace: Workspace, service: string): string {
  return join(workspace.folder, 'services', `${service}.json`);
}

function parsedOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
