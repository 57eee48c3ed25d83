import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text as textOf } from 'node:stream/consumers';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';

/** How much of a refusal's text is repeated. */
const refusalLengthMax = 500;

/** What to score and where. */
export interface ScoreOptions {
  /** Name of the service. */
  readonly service: string;
  /** JSON text, sent as it is. */
  readonly input: string;
  /** `http(s)://host:port`, and what stands before `/score`, if anything. */
  readonly address: string;
  /** Key or token. @default none */
  readonly credential?: string;
  /** Certificate that the service answers with, which is believed beside the machine's own authorities. */
  readonly certificate?: string;
  /** Name that the certificate is for. @default the address's */
  readonly tlsName?: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** What to do when nothing answers. */
  readonly next?: string;
}

/**
 * Scores rows on a service over HTTP.
 * @returns what the service answered, parsed
 * @throws {FerryError} SCORING_FAILED with the address, and the service's own words where it answered; UNAUTHORIZED where it refused the key
 */
export async function scoreService(options: ScoreOptions): Promise<unknown> {
  const { service, address, timeoutMs, signal } = options;
  const doing = `score on the service "${service}"`;
  const url = new URL(`${address.replace(/\/$/, '')}/score`);
  try {
    return await withDeadline({ doing, timeoutMs, signal }, async (signal) => {
      const { status, text } = await post(url, options, signal);
      if (status === 200) return JSON.parse(text) as unknown;
      const said = text.slice(0, refusalLengthMax);
      const code = status === 401 ? 'UNAUTHORIZED' : 'SCORING_FAILED';
      throw new FerryError(code, `Cannot ${doing}: ${url.href} answered ${status}: ${said}`);
    });
  } catch (error) {
    signal.throwIfAborted();
    if (isFerryError(error)) throw error;
    const found = error instanceof SyntaxError ? 'what it answers is no JSON' : messageOf(error);
    throw new FerryError('SCORING_FAILED', `Cannot ${doing}: nothing usable answers at ${url.href} (${found})`, {
      next: options.next ?? 'Check the address, and `ferry service show` for the state of the service.',
    });
  }
}

async function post(
  url: URL,
  { input, credential, certificate, tlsName }: ScoreOptions,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(input),
    ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
  };
  const ca = certificate === undefined ? [] : [certificate];
  const { rootCertificates } = await import('node:tls');
  const request =
    url.protocol === 'https:'
      ? httpsRequest(url, {
          method: 'POST',
          headers,
          signal,
          agent: false,
          ca: [...rootCertificates, ...ca],
          ...(tlsName === undefined ? {} : { servername: tlsName }),
        })
      : httpRequest(url, { method: 'POST', headers, signal, agent: false });
  request.on('error', reject);
  request.on('response', (response) => {
    textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  request.end(input);
  return promise;
}
