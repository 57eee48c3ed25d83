import { randomBytes, randomInt } from 'node:crypto';
import { z } from 'zod';
import { HubError } from '../hub-error.ts';

/** Names a device, or a module of one. */
export interface Address {
  readonly deviceId: string;
  readonly moduleId?: string | undefined;
}

/** Gives an address as one string, `device` or `device/module`: no id holds a slash. */
export function addressKey({ deviceId, moduleId }: Address): string {
  return moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
}

/** The modules that every IoT Edge device has. */
export const systemModuleIds = ['$edgeAgent', '$edgeHub'] as const;

/** Says whether the id is that of a module that IoT Edge itself consists of. */
export function isSystemModule(moduleId: string | undefined): boolean {
  return moduleId === '$edgeAgent' || moduleId === '$edgeHub';
}

/** How a device or module proves who it is. */
export interface Authentication {
  readonly type: 'sas' | 'selfSigned' | 'certificateAuthority' | 'none';
  readonly symmetricKey: { readonly primaryKey: string | null; readonly secondaryKey: string | null };
  readonly x509Thumbprint: { readonly primaryThumbprint: string | null; readonly secondaryThumbprint: string | null };
}

/** What the registry keeps of a device. */
export interface DeviceIdentity {
  readonly deviceId: string;
  /** .NET ticks of its creation; another device of the same id later has a higher one. */
  readonly generationId: string;
  readonly etag: string;
  readonly status: 'enabled' | 'disabled';
  readonly statusReason: string | null;
  readonly statusUpdatedTime: string;
  readonly authentication: Authentication;
  readonly capabilities: { readonly iotEdge: boolean };
  /** `ms-azure-iot-edge://{device}-{generation}`: its own if it is an Edge device, else its parent's. */
  readonly deviceScope: string | null;
  readonly parentScopes: readonly string[];
}

/** What the registry keeps of a module. */
export interface ModuleIdentity {
  readonly deviceId: string;
  readonly moduleId: string;
  readonly managedBy: string | null;
  readonly generationId: string;
  readonly etag: string;
  readonly authentication: Authentication;
}

/** The time that stands for "never". */
export const never = '0001-01-01T00:00:00';

/** 128 of what the identity registry's document allows: ASCII letters, digits and a few signs. */
const idPattern = /^[A-Za-z0-9\-.+%_#*?!(),:=@$';]{1,128}$/;

/** Checks a device's or module's id. @throws {HubError} ArgumentInvalid when it breaks the rules */
export function checkId(kind: 'device' | 'module', id: string): void {
  if (idPattern.test(id)) return;
  throw new HubError(
    'ArgumentInvalid',
    `The ${kind} id "${id.slice(0, 140)}" is not valid: 1 to 128 ASCII letters, digits and - . + % _ # * ? ! ( ) , : = @ $ ' were wanted`,
  );
}

const key = z.string().nullish();
const authenticationSchema = z
  .object({
    type: z.enum(['sas', 'selfSigned', 'certificateAuthority', 'none']).nullish(),
    symmetricKey: z.object({ primaryKey: key, secondaryKey: key }).nullish(),
    x509Thumbprint: z.object({ primaryThumbprint: key, secondaryThumbprint: key }).nullish(),
  })
  .nullish();

/** What callers may send as a device: everything else that the hub itself gives is ignored. */
export const deviceBodySchema = z.object({
  deviceId: z.string(),
  status: z.enum(['enabled', 'disabled']).nullish(),
  statusReason: z.string().max(128).nullish(),
  authentication: authenticationSchema,
  capabilities: z.object({ iotEdge: z.boolean().nullish() }).nullish(),
  deviceScope: z.string().nullish(),
  parentScopes: z.array(z.string()).nullish(),
});

/** A device as callers send it. */
export type DeviceBody = z.infer<typeof deviceBodySchema>;

/** What callers may send as a module. */
export const moduleBodySchema = z.object({
  deviceId: z.string(),
  moduleId: z.string(),
  managedBy: z.string().max(128).nullish(),
  authentication: authenticationSchema,
});

/** A module as callers send it. */
export type ModuleBody = z.infer<typeof moduleBodySchema>;

/**
 * Completes what a caller sent of authentication: keys that are wanted and not given are made.
 * @throws {HubError} ArgumentInvalid when a key is no base64 of 16 to 64 bytes, or a thumbprint no SHA-1 or SHA-256
 */
export function readAuthentication(given: z.infer<typeof authenticationSchema>): Authentication {
  const thumbprints = {
    primaryThumbprint: readThumbprint(given?.x509Thumbprint?.primaryThumbprint),
    secondaryThumbprint: readThumbprint(given?.x509Thumbprint?.secondaryThumbprint),
  };
  const type = given?.type ?? (thumbprints.primaryThumbprint === null ? 'sas' : 'selfSigned');
  if (type === 'sas') {
    const keys = given?.symmetricKey;
    return {
      type,
      symmetricKey: { primaryKey: readKey(keys?.primaryKey), secondaryKey: readKey(keys?.secondaryKey) },
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
    };
  }
  if (type === 'selfSigned' && thumbprints.primaryThumbprint === null && thumbprints.secondaryThumbprint === null) {
    throw new HubError('ArgumentInvalid', 'A self-signed device needs a thumbprint: none was given');
  }
  return { type, symmetricKey: { primaryKey: null, secondaryKey: null }, x509Thumbprint: thumbprints };
}

/** Makes a key as the hub does: base64 of 32 random bytes. */
export function newKey(): string {
  return randomBytes(32).toString('base64');
}

function readKey(given: string | null | undefined): string {
  if (given === undefined || given === null || given === '') return newKey();
  const bytes = Buffer.from(given, 'base64');
  if (bytes.toString('base64') !== given || bytes.length < 16 || bytes.length > 64) {
    throw new HubError('ArgumentInvalid', 'A symmetric key must be base64 of 16 to 64 bytes');
  }
  return given;
}

function readThumbprint(given: string | null | undefined): string | null {
  if (given === undefined || given === null || given === '') return null;
  const digits = given.replaceAll(':', '').toUpperCase();
  if (!/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(digits)) {
    throw new HubError('ArgumentInvalid', 'A thumbprint must be 40 (SHA-1) or 64 (SHA-256) hexadecimal digits');
  }
  return digits;
}

/** Makes a new entity tag as the registry does: base64 of a decimal number. */
export function newEtag(): string {
  return Buffer.from(String(randomInt(1_000_000_000))).toString('base64');
}

/**
 * Holds a request against the entity tag of what it changes.
 * @param ifMatch the `If-Match` header: absent, `*`, or a tag, in quotes or not
 * @throws {HubError} PreconditionFailed when it names another tag
 */
export function checkEtag(ifMatch: string | undefined, etag: string): void {
  const wanted = ifMatch
    ?.trim()
    .replace(/^W\//, '')
    .replace(/^"(.*)"$/s, '$1');
  if (wanted === undefined || wanted === '' || wanted === '*' || wanted === etag) return;
  throw new HubError(
    'PreconditionFailed',
    'Precondition failed: The etag does not match that of the existing resource',
  );
}
