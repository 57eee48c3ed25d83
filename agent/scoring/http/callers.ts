import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { WatchedFiles } from '../watched-files.ts';

/** What the file of secrets holds; two keys, so that one is good while the other is renewed. */
const secretsSchema = z.strictObject({
  keys: z.array(z.string().min(16)).min(1).max(2),
  /** Signs tokens: JSON Web Tokens, HS256, with `aud` (the service) and `exp`. */
  tokenSecret: z.string().min(32).optional(),
  /** Who has it may load and unload models. */
  adminKey: z.string().min(16).optional(),
});

type Secrets = z.infer<typeof secretsSchema>;

const tokenHeader = z.looseObject({ alg: z.literal('HS256') });
const tokenClaims = z.looseObject({ aud: z.string(), exp: z.number() });

/** The settings of {@link Callers}. */
export interface CallersOptions {
  /** File of the secrets; it is read again when it changes. */
  readonly path: string;
  /** The service that tokens must be for. */
  readonly service: string;
  readonly log: Logger;
}

/** Who may call: whoever has one of the two keys, or a token that has not expired. */
export class Callers implements Disposable {
  readonly #files: WatchedFiles<Secrets>;
  readonly #service: string;

  /** @throws {FerryError} FILE_UNREADABLE when the secrets cannot be read */
  constructor({ path, service, log }: CallersOptions) {
    this.#service = service;
    this.#files = new WatchedFiles({
      paths: [path],
      read: () => readSecrets(path),
      onChange: () => log.info('read the renewed keys'),
      onFailure: (err) => log.error({ err }, 'could not read the renewed keys; the keys before stay good'),
    });
  }

  /**
   * Lets a request pass.
   * @param authorization the header of that name
   * @throws {FerryError} UNAUTHORIZED
   */
  check(authorization = ''): void {
    const credential = credentialOf(authorization);
    const { keys, tokenSecret } = this.#files.value;
    // Every key is compared, so that the time does not say which one is near.
    const known = keys.filter((key) => sameText(key, credential)).length > 0;
    if (known) return;
    if (tokenSecret === undefined || !credential.includes('.')) throw unauthorized('its key is none of this service');
    checkToken(credential, { secret: tokenSecret, service: this.#service });
  }

  /**
   * Lets a request of an administrator pass.
   * @param authorization the header of that name
   * @throws {FerryError} UNAUTHORIZED
   */
  checkAdmin(authorization = ''): void {
    const credential = credentialOf(authorization);
    const { adminKey } = this.#files.value;
    if (adminKey === undefined || !sameText(adminKey, credential)) throw unauthorized('its key is not the admin key');
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}

/** @throws {FerryError} UNAUTHORIZED */
function credentialOf(authorization: string): string {
  const [, credential] = /^Bearer +(\S+) *$/i.exec(authorization) ?? [];
  if (credential === undefined)
    throw unauthorized('it brings no key, "Authorization: Bearer <key or token>" was wanted');
  return credential;
}

function readSecrets(path: string): Secrets {
  try {
    return secretsSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    // What stands in the file must not get into a log, not even in pieces.
    const found =
      error instanceof z.ZodError
        ? error.issues.map((issue) => `${issue.path.join('.')}: ${issue.code}`).join('; ')
        : 'it is no JSON file';
    throw new FerryError('FILE_UNREADABLE', `Cannot read the keys in "${path}": ${found}`);
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc7515 */
function checkToken(token: string, wanted: { readonly secret: string; readonly service: string }): void {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const signed = createHmac('sha256', wanted.secret).update(`${header}.${claims}`).digest('base64url');
  if (!sameText(signed, signature)) throw unauthorized('its token is not signed by this service');
  const { aud, exp } = parsePart(claims, tokenClaims);
  parsePart(header, tokenHeader);
  if (aud !== wanted.service) throw unauthorized(`its token is for "${aud}", "${wanted.service}" was wanted`);
  if (exp * 1000 <= Date.now()) throw unauthorized('its token has expired');
}

function parsePart<T>(part: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(part, 'base64url').toString()));
  } catch {
    throw unauthorized('its token is no JSON Web Token with HS256, aud and exp');
  }
}

/** Compares in a time that does not depend on where the texts differ, nor on their lengths. */
function sameText(left: string, right: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}

function unauthorized(found: string): FerryError {
  return new FerryError('UNAUTHORIZED', `Cannot take the request: ${found}`);
}
