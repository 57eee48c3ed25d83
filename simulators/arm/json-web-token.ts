import { createPublicKey, type KeyLike, sign, verify } from 'node:crypto';
import { z } from 'zod';

const headerSchema = z.looseObject({ alg: z.literal('RS256') });
const claimsSchema = z.looseObject({
  iss: z.string(),
  aud: z.string(),
  exp: z.number(),
  nbf: z.number().optional(),
  sub: z.string().optional(),
});

/** What a token says, of which the fields that are looked at. */
export type Claims = z.infer<typeof claimsSchema>;

/** Makes a token (RFC 7519), signed by RSA with SHA-256. */
export function signToken(claims: Claims, key: KeyLike, keyId: string): string {
  const text = `${encode({ typ: 'JWT', alg: 'RS256', kid: keyId })}.${encode(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
}

/** Reads a token whose signature is that of the key; gives `undefined` for every other text. Times are the caller's to check. */
export function readToken(token: string, key: KeyLike): Claims | undefined {
  const [header = '', body = '', signature = '', ...rest] = token.split('.');
  if (rest.length > 0 || !headerSchema.safeParse(decode(header)).success) return undefined;
  const bytes = Buffer.from(`${header}.${body}`);
  if (!verify('sha256', bytes, createPublicKey(key), Buffer.from(signature, 'base64url'))) return undefined;
  return claimsSchema.safeParse(decode(body)).data;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    return undefined;
  }
}
