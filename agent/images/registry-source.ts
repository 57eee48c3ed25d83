import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { FerryError, messageOf } from '../../shared/errors.ts';

/** How to sign in to a registry. */
export interface RegistrySignIn {
  readonly username: string;
  readonly password: string;
}

/** The settings of one {@link RegistrySource.get}. */
export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** How long a registry may be silent, while connecting or in the middle of a body, in milliseconds. */
const silenceMaxMs = 30_000;
/** Most redirections that are followed; registries send to their blob storage with one. */
const redirectsMax = 5;

const tokenSchema = z.union([
  z.object({ token: z.string() }).transform(({ token }) => token),
  z.object({ access_token: z.string() }).transform((answer) => answer.access_token),
]);

/**
 * Reads from one registry, by the pull half of the distribution protocol. Signs in when the registry asks for it, by name and
 * password or with a token from where it says.
 * @see OCI distribution-spec 1.1, "Pull"; https://distribution.github.io/distribution/spec/auth/token/
 */
export class RegistrySource {
  readonly host: string;
  readonly #signIn: RegistrySignIn | undefined;
  #authorization: string | undefined;

  /** @param host with its port if any; a loopback host is spoken to without TLS, as Docker does */
  constructor(host: string, signIn?: RegistrySignIn) {
    this.host = host;
    this.#signIn = signIn;
  }

  /**
   * Gets a path below `/v2/`; comes back with the beginning of the answer, whose status is 200 or 206.
   * @throws {FerryError} IMAGE_NOT_FOUND, REGISTRY_REFUSED, REGISTRY_UNREACHABLE
   */
  async get(path: string, options: GetOptions): Promise<IncomingMessage> {
    // Docker Hub's registry has another name than its images say.
    const host = this.host === 'docker.io' ? 'registry-1.docker.io' : this.host;
    const url = new URL(`${isLoopback(host) ? 'http' : 'https'}://${host}/v2/${path}`);
    let answer = await this.#request(url, options);
    if (answer.statusCode === 401) {
      const challenge = answer.headers['www-authenticate'] ?? '';
      answer.resume();
      this.#authorization = await this.#authorize(challenge, options);
      answer = await this.#request(url, options);
    }
    const { statusCode = 0 } = answer;
    if (statusCode === 200 || statusCode === 206) return answer;
    const said = (await text(answer)).slice(0, 500);
    const what = `Cannot get "${path}" from the registry ${this.host}`;
    if (statusCode === 404) throw new FerryError('IMAGE_NOT_FOUND', `${what}: it has no such thing`);
    const code = statusCode >= 500 || statusCode === 429 ? 'REGISTRY_UNREACHABLE' : 'REGISTRY_REFUSED';
    const cause = said === '' ? undefined : new Error(said);
    throw new FerryError(code, `${what}: it answers ${statusCode}`, { cause });
  }

  async #request(start: URL, options: GetOptions): Promise<IncomingMessage> {
    let url = start;
    for (let count = 0; count <= redirectsMax; count += 1) {
      // The sign-in is for the registry alone: its blob storage has the right in the address, and refuses two.
      const own = url.host === start.host && this.#authorization !== undefined;
      const headers = { ...options.headers, ...(own ? { authorization: this.#authorization } : {}) };
      const answer = await this.#send(url, headers as Record<string, string>, options.signal);
      const { location } = answer.headers;
      if (![301, 302, 303, 307, 308].includes(answer.statusCode ?? 0) || location === undefined) return answer;
      answer.resume();
      url = new URL(location, url);
    }
    throw new FerryError('REGISTRY_REFUSED', `Cannot read from the registry ${this.host}: it only sends elsewhere`);
  }

  async #send(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const send = url.protocol === 'http:' ? requestHttp : requestHttps;
    const request = send(url, { headers, signal, timeout: silenceMaxMs });
    request.once('timeout', () => request.destroy(new Error(`nothing was heard for ${silenceMaxMs} ms`)));
    request.once('response', resolve);
    // Stays: a failure in the middle of the body is told by the body too, but without a listener here it would end the program.
    request.on('error', reject);
    request.end();
    try {
      return await promise;
    } catch (cause) {
      signal.throwIfAborted();
      throw new FerryError('REGISTRY_UNREACHABLE', `Cannot reach the registry ${this.host} at ${url.host}`, { cause });
    }
  }

  /** Answers a challenge: with name and password, or with a token that is fetched with them. */
  async #authorize(challenge: string, { signal }: GetOptions): Promise<string | undefined> {
    const { username, password } = this.#signIn ?? {};
    const basic =
      username === undefined ? undefined : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    const [, scheme = '', rest = ''] = /^(\w+)\s+(.*)$/s.exec(challenge) ?? [];
    if (scheme.toLowerCase() !== 'bearer') return basic;
    const fields = new Map([...rest.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]));
    const url = new URL(fields.get('realm') ?? '');
    for (const name of ['service', 'scope']) {
      const value = fields.get(name);
      if (value !== undefined) url.searchParams.set(name, value);
    }
    const answer = await this.#send(url, basic === undefined ? {} : { authorization: basic }, signal);
    const body = await text(answer);
    if (answer.statusCode !== 200) {
      const next = 'Check registryCredentials in the deployment.';
      const what = `Cannot sign in to the registry ${this.host}: ${url.host} answers ${answer.statusCode}`;
      throw new FerryError('REGISTRY_REFUSED', what, { next });
    }
    try {
      return `Bearer ${tokenSchema.parse(JSON.parse(body))}`;
    } catch (cause) {
      const what = `Cannot sign in to the registry ${this.host}: ${url.host} gives no token`;
      throw new FerryError('REGISTRY_REFUSED', what, { cause: new Error(messageOf(cause).slice(0, 200)) });
    }
  }
}

function isLoopback(host: string): boolean {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i.test(host);
}
