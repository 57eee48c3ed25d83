import { request } from 'node:http';
import { FerryError, messageOf } from '../shared/errors.ts';
import type { ModuleSpec } from './module-spec.ts';

/** The port that a scoring image exposes. */
export const scoringPort = '5001/tcp';

/** What a module is asked. */
export interface ModuleQuestion {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  /** JSON. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long the module may take to answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Most bytes of the answer. */
  readonly bytesMax: number;
  readonly signal?: AbortSignal;
}

/** What a module has answered. */
export interface ModuleReply {
  readonly status: number;
  readonly body: string;
}

/**
 * Asks a module over HTTP, on the port of this machine that its scoring port is bound to; gives nothing for a module without.
 * @throws {FerryError} SCORING_FAILED when it does not answer, or answers more than may be
 */
export async function askModule(
  spec: Pick<ModuleSpec, 'name' | 'createOptions'>,
  question: ModuleQuestion,
): Promise<ModuleReply | undefined> {
  const binding = spec.createOptions.HostConfig?.PortBindings?.[scoringPort]?.[0];
  if (!binding?.HostPort) return undefined;
  const anywhere = [undefined, '', '0.0.0.0', '::'].includes(binding.HostIp);
  const { method = 'GET', path, body, headers = {}, timeoutMs, bytesMax, signal } = question;
  const time = AbortSignal.timeout(timeoutMs);
  const { promise, resolve, reject } = Promise.withResolvers<ModuleReply>();
  const asking = request(
    {
      host: anywhere ? '127.0.0.1' : binding.HostIp,
      port: binding.HostPort,
      method,
      path,
      agent: false,
      headers: {
        ...headers,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
      signal: signal === undefined ? time : AbortSignal.any([signal, time]),
    },
    (answer) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > bytesMax) asking.destroy(new Error(`the answer has more than ${bytesMax} bytes`));
        else pieces.push(piece);
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(pieces).toString() }));
      answer.on('error', reject);
    },
  );
  asking.on('error', reject);
  asking.end(body);
  try {
    return await promise;
  } catch (cause) {
    throw new FerryError('SCORING_FAILED', `Cannot ask the module "${spec.name}" for ${path}: ${messageOf(cause)}`, {
      cause,
    });
  }
}
