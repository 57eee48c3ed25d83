import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { FerryError } from '../errors.ts';
import { isSafeForSecrets, registryUrl } from './registry-address.ts';
import { type Challenge, parseChallenge } from './registry-challenge.ts';
import type { RegistryCredential, RegistryCredentials } from './registry-credentials.ts';

/** Docker's token authentication specification: `token` or `access_token`, 60 seconds where it does not say. */
const tokenSchema = z.looseObject({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().positive().optional(),
});
const exchangeSchema = z.looseObject({ refresh_token: z.string().min(1) });
const defaultLifeSeconds = 60;
/** The part of its life for which a token is used: the request that carries it takes its time, and clocks differ. */
const usedPart = 0.8;

/** A request that belongs to signing in: with a form it is a POST, else a GET. */
export interface SignInRequest {
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly form?: Readonly<Record<string, string>>;
}

/** Sends such a request and gives the answer's body; every other status than 200 is a failure. */
export type AskToSignIn = (request: SignInRequest, signal: AbortSignal) => Promise<Uint8Array>;

/**
 * Signs in to one registry: gives the `Authorization` header of a scope, and learns from the registry's challenge how it is
 * to be got. Tokens are kept until shortly before their end.
 * @see https://distribution.github.io/distribution/spec/auth/
 * @see https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
 */
export class RegistryAuthentication {
  readonly #host: string;
  readonly #credentials: RegistryCredentials;
  readonly #ask: AskToSignIn;
  readonly #clock: Clock;
  readonly #headers = new Map<string, { readonly value: string; readonly endMs: number }>();
  #refreshToken: string | undefined;

  constructor(host: string, credentials: RegistryCredentials, ask: AskToSignIn, clock: Clock) {
    this.#host = host;
    this.#credentials = credentials;
    this.#ask = ask;
    this.#clock = clock;
  }

  /** Gives the header for a scope, where one is known that still holds. */
  headerFor(scope: string): string | undefined {
    const known = this.#headers.get(scope) ?? this.#headers.get(anyScope);
    return known !== undefined && known.endMs > this.#clock.monotonicMs() ? known.value : undefined;
  }

  /**
   * Answers a challenge for a scope. Gives false where there is nothing to answer it with.
   * @throws {FerryError} REGISTRY_REFUSED when the registry asks for a password over an unsafe connection
   */
  async answer(header: string, scope: string, signal: AbortSignal): Promise<boolean> {
    const challenge = parseChallenge(header);
    if (challenge === undefined) return false;
    const credential = await this.#credentials(this.#host, signal);
    if (challenge.scheme === 'basic') {
      if (credential?.kind !== 'password') return false;
      this.#headers.set(anyScope, { value: basic(credential), endMs: Infinity });
      return true;
    }
    const { token, lifeMs } = await this.#requestToken(challenge, scope, credential, signal);
    this.#headers.set(scope, { value: `Bearer ${token}`, endMs: this.#clock.monotonicMs() + lifeMs * usedPart });
    return true;
  }

  async #requestToken(
    challenge: Challenge & { scheme: 'bearer' },
    scope: string,
    credential: RegistryCredential | undefined,
    signal: AbortSignal,
  ): Promise<{ token: string; lifeMs: number }> {
    const realm = new URL(challenge.realm);
    if (!isSafeForSecrets(realm)) {
      throw new FerryError(
        'REGISTRY_REFUSED',
        `Cannot sign in to the registry "${this.#host}": it asks to do so at "${realm.origin}", an https address was wanted`,
      );
    }
    const service = challenge.service ?? '';
    const response =
      credential === undefined || credential.kind === 'password'
        ? await this.#tokenWithPassword(realm, { service, scope }, credential, signal)
        : await this.#tokenWithRefreshToken(realm, { service, scope }, credential, signal);
    const { token, access_token, expires_in = defaultLifeSeconds } = parse(response, tokenSchema, this.#host);
    const value = token ?? access_token;
    if (value === undefined) throw unreadable(this.#host);
    return { token: value, lifeMs: expires_in * 1000 };
  }

  #tokenWithPassword(
    realm: URL,
    { service, scope }: { service: string; scope: string },
    credential: (RegistryCredential & { kind: 'password' }) | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    if (service !== '') realm.searchParams.set('service', service);
    for (const one of scope.split(' ').filter((part) => part !== '')) realm.searchParams.append('scope', one);
    const headers: Record<string, string> = credential === undefined ? {} : { authorization: basic(credential) };
    return this.#ask({ url: realm, headers }, signal);
  }

  async #tokenWithRefreshToken(
    realm: URL,
    { service, scope }: { service: string; scope: string },
    credential: Exclude<RegistryCredential, { kind: 'password' }>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#refreshToken ??=
      credential.kind === 'refresh-token' ? credential.token : await this.#exchange(credential, service, signal);
    const form = {
      grant_type: 'refresh_token',
      service,
      scope,
      client_id: 'modelferry',
      refresh_token: this.#refreshToken,
    };
    return this.#ask({ url: realm, form }, signal);
  }

  /** Gives Azure Container Registry's refresh token for a token of Microsoft Entra ID. */
  async #exchange(
    credential: RegistryCredential & { kind: 'entra-token' },
    service: string,
    signal: AbortSignal,
  ): Promise<string> {
    const form = {
      grant_type: 'access_token',
      service: service === '' ? this.#host : service,
      access_token: credential.token,
      ...(credential.tenant === undefined ? {} : { tenant: credential.tenant }),
    };
    const url = new URL('/oauth2/exchange', registryUrl(this.#host));
    const response = await this.#ask({ url, form }, signal);
    return parse(response, exchangeSchema, this.#host).refresh_token;
  }
}

/** Where a header for all scopes is kept; no scope is written like this. */
const anyScope = '*';

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function parse<T>(answer: Uint8Array, schema: z.ZodType<T>, host: string): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(answer).toString()));
  } catch {
    // Not as the cause: it would quote what may be a secret.
    throw unreadable(host);
  }
}

function unreadable(host: string): FerryError {
  return new FerryError(
    'REGISTRY_REFUSED',
    `Cannot sign in to the registry "${host}": its answer holds no token, one was wanted`,
  );
}
