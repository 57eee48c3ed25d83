import { z } from 'zod';
import { type Clock, systemClock } from '../clock.ts';
import { FerryError, isFerryError } from '../errors.ts';
import { exchange, type HttpAnswer, type RequestBody } from './http-exchange.ts';
import { IdleLimit } from './idle-limit.ts';
import { manifestBytesMax } from './manifest.ts';
import { registryUrl } from './registry-address.ts';
import { type AskToSignIn, RegistryAuthentication, type SignInRequest } from './registry-authentication.ts';
import type { RegistryCredentials } from './registry-credentials.ts';
import { attemptsMax, isRetryableFailure, isRetryableStatus, retryDelayMs, TryAgain } from './registry-retries.ts';

/** The settings of a {@link RegistryTransport}. */
export interface RegistryTransportOptions {
  /** @default nobody: asks without signing in */
  readonly credentials?: RegistryCredentials;
  /** How long a request may stand still, in milliseconds. @default 60_000 */
  readonly idleMsMax?: number;
  /** @default the machine's */
  readonly clock?: Clock;
}

/** One request to a registry. */
export interface RegistryRequest {
  /** What is being done, as in `Cannot <doing>: …`. */
  readonly doing: string;
  readonly method: 'DELETE' | 'GET' | 'HEAD' | 'PATCH' | 'POST' | 'PUT';
  /** A path under `/v2/`, or the URL that a registry gave. */
  readonly target: string | URL;
  /** What it needs to be allowed, as in `repository:digits:pull,push`; several with a space between. */
  readonly scope: string;
  /** Statuses that are answers; every other one is a refusal. */
  readonly statuses: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** @default 5 */
  readonly attemptsMax?: number;
  readonly signal?: AbortSignal;
}

/** An answer: its body, where there is one, is to be read or cancelled; disposing ends the watch over it. */
export interface RegistryResponse extends Disposable {
  readonly status: number;
  header(name: string): string | undefined;
  /** Where the answer came from, to resolve its `Location` against. */
  readonly url: URL;
  /** Reads the body whole. @throws {FerryError} REGISTRY_REFUSED when it is larger than a manifest may be */
  bytes(): Promise<Uint8Array>;
  pieces(): AsyncIterable<Uint8Array>;
}

/** OCI distribution-spec 1.1, "Error Codes". */
const errorsSchema = z.looseObject({
  errors: z.array(z.looseObject({ code: z.string().optional(), message: z.string().nullish() })).min(1),
});

/** Sends requests to one registry: signs in, repeats what may succeed the next time, and turns failures into errors that name it. */
export class RegistryTransport {
  readonly host: string;
  readonly #base: URL;
  readonly #idleMsMax: number;
  readonly #clock: Clock;
  readonly #authentication: RegistryAuthentication;

  constructor(host: string, options: RegistryTransportOptions = {}) {
    this.host = host;
    this.#base = registryUrl(host);
    this.#idleMsMax = options.idleMsMax ?? 60_000;
    this.#clock = options.clock ?? systemClock;
    const credentials = options.credentials ?? (async () => undefined);
    const ask: AskToSignIn = (request, signal) => this.#askToSignIn(request, signal);
    this.#authentication = new RegistryAuthentication(host, credentials, ask, this.#clock);
  }

  /**
   * Sends a request until it is answered.
   * @throws {FerryError} REGISTRY_UNREACHABLE when no connection comes about or holds
   * @throws {FerryError} REGISTRY_REFUSED when the answer has another status than those that were wanted
   * @throws {FerryError} TIMEOUT when it stands still for too long
   */
  async send(request: RegistryRequest): Promise<RegistryResponse> {
    const attempts = request.attemptsMax ?? attemptsMax;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const response = await this.#sendSignedIn(request);
        if (request.statuses.includes(response.status)) return response;
        throw await this.#refusal(request, response);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (attempt + 1 >= attempts || !isRetryableFailure(error)) throw this.#failure(request, error);
        await this.waitToRetry(attempt, error, request.signal);
      }
    }
  }

  /** Waits before what failed is tried again, as long as the registry asks for. @param attempt 0 for the first one */
  waitToRetry(attempt: number, failure: unknown, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(retryDelayMs(attempt, failure, this.#clock.nowMs()), signal);
  }

  async #sendSignedIn(request: RegistryRequest): Promise<RegistryResponse> {
    const first = await this.#sendOnce(request);
    const challenge = first.header('www-authenticate');
    if (first.status !== 401 || challenge === undefined) return first;
    const signal = request.signal ?? AbortSignal.timeout(this.#idleMsMax);
    if (!(await this.#authentication.answer(challenge, request.scope, signal))) return first;
    await discard(first);
    return this.#sendOnce(request);
  }

  async #sendOnce(request: RegistryRequest): Promise<RegistryResponse> {
    const url = typeof request.target === 'string' ? new URL(`/v2/${request.target}`, this.#base) : request.target;
    const limit = new IdleLimit(request.doing, this.#idleMsMax, request.signal);
    try {
      // A URL that the registry gave may be of another host, which has no business with the token.
      const authorization =
        url.origin === this.#base.origin ? this.#authentication.headerFor(request.scope) : undefined;
      const answer = await exchange({
        method: request.method,
        url,
        headers: { ...request.headers, ...(authorization !== undefined && { authorization }) },
        ...(request.body && { body: watched(request.body, limit) }),
        signal: limit.signal,
      });
      limit.touch();
      return responseOf(answer, limit);
    } catch (error) {
      limit[Symbol.dispose]();
      throw limit.signal.aborted ? limit.signal.reason : error;
    }
  }

  async #askToSignIn({ url, headers = {}, form }: SignInRequest, signal: AbortSignal): Promise<Uint8Array> {
    const doing = `sign in to the registry "${this.host}" at ${url.origin}`;
    using limit = new IdleLimit(doing, this.#idleMsMax, signal);
    const posted = form && { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await exchange({
      method: form === undefined ? 'GET' : 'POST',
      url,
      headers: { ...headers, ...posted },
      ...(form && { body: Buffer.from(new URLSearchParams(form).toString()) }),
      signal: limit.signal,
    });
    const bytes = await gather(answer.pieces());
    if (answer.status === 200) return bytes;
    throw new FerryError('REGISTRY_REFUSED', `Cannot ${doing}: ${reasonOf(answer.status, textOf(bytes))}`);
  }

  async #refusal(request: RegistryRequest, response: RegistryResponse): Promise<FerryError> {
    const text = textOf(await response.bytes().catch(() => new Uint8Array()));
    const message = `Cannot ${request.doing} at the registry "${this.host}": ${reasonOf(response.status, text)}`;
    const wanted = `${request.statuses.join(' or ')} was wanted`;
    if (isRetryableStatus(response.status)) {
      const cause = new TryAgain(response.status, response.header('retry-after'));
      return new FerryError('REGISTRY_REFUSED', `${message}, ${wanted}`, { cause });
    }
    const isForbidden = response.status === 401 || response.status === 403;
    const next = isForbidden ? { next: `Sign in to "${this.host}" with an account that may do this.` } : {};
    return new FerryError('REGISTRY_REFUSED', `${message}, ${wanted}`, next);
  }

  #failure(request: RegistryRequest, error: unknown): unknown {
    if (isFerryError(error)) return error;
    return new FerryError(
      'REGISTRY_UNREACHABLE',
      `Cannot ${request.doing}: the registry at ${this.#base.origin} could not be reached`,
      { cause: error, next: 'Check the address, and that the registry runs.' },
    );
  }
}

/** Reads an answer's body away, so that its connection can be used again. */
export async function discard(response: RegistryResponse): Promise<void> {
  await response.bytes().catch(() => undefined);
}

/** Takes every piece that is sent as a movement. */
function watched(body: RequestBody, limit: IdleLimit): RequestBody {
  return body instanceof Uint8Array ? body : { ...body, open: () => limit.watch(body.open()) };
}

function responseOf(answer: HttpAnswer, limit: IdleLimit): RegistryResponse {
  const pieces = async function* (): AsyncGenerator<Uint8Array, void, void> {
    using _limit = limit;
    try {
      yield* limit.watch(answer.pieces());
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : error;
    }
  };
  return {
    status: answer.status,
    header: (name) => answer.header(name),
    url: answer.url,
    pieces,
    bytes: () => gather(pieces()),
    [Symbol.dispose]() {
      limit[Symbol.dispose]();
      answer.letGo();
    },
  };
}

/** An answer that is read whole is a manifest or smaller: what is larger is not what it should be. */
async function gather(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const gathered: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.byteLength;
    if (bytes > manifestBytesMax) {
      throw new FerryError(
        'REGISTRY_REFUSED',
        `Cannot read an answer of the registry: it has over ${manifestBytesMax} bytes`,
      );
    }
    gathered.push(piece);
  }
  return Buffer.concat(gathered);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

/** Gives status, and the registry's own code and message where it gave them. */
function reasonOf(status: number, text: string): string {
  let own = '';
  try {
    const [first] = errorsSchema.parse(JSON.parse(text)).errors;
    own = ` ${first?.code ?? ''}${first?.message ? ` "${first.message.slice(0, 300)}"` : ''}`;
  } catch {
    // Proxies and storage answer in HTML and XML: then the status has to do.
  }
  return `it answered ${status}${own}`;
}
