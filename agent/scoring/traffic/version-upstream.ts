import { Agent as PlainAgent, type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { Shares } from './shares.ts';
import type { RoutedVersion } from './route-settings.ts';

/** Connections to one version at most; requests beyond wait for one. */
const socketsMax = 512;
/** How long a connection is kept without a request: shorter than a scoring server keeps it. */
const idleMs = 30_000;

/** A request to a version, as far as it is the same on each try. */
export interface VersionRequest {
  readonly method: string;
  readonly path: string;
  /** Names and values by turns, as they came. */
  readonly headers: readonly string[];
}

/** One version of a service, and connections to it. */
export class VersionUpstream implements Disposable {
  readonly version: RoutedVersion;
  readonly #agent: PlainAgent | TlsAgent;
  readonly #isTls: boolean;
  readonly #mirrored: Shares<{ readonly weight: number; readonly isMirrored: boolean }>;

  constructor(version: RoutedVersion, { isTls }: { readonly isTls: boolean }) {
    this.version = version;
    this.#isTls = isTls;
    const options = { keepAlive: true, maxSockets: socketsMax, timeout: idleMs };
    // The versions are within the cluster, at addresses that no certificate is for: TLS keeps others from listening there.
    this.#agent = isTls ? new TlsAgent({ ...options, rejectUnauthorized: false }) : new PlainAgent(options);
    const { mirrorPercent } = version;
    this.#mirrored = new Shares([
      { weight: mirrorPercent, isMirrored: true },
      { weight: 100 - mirrorPercent, isMirrored: false },
    ]);
  }

  get name(): string {
    return this.version.name;
  }

  /** Says whether the next request is one that it gets a copy of. */
  takesCopy(): boolean {
    return this.#mirrored.next()?.isMirrored === true;
  }

  /** Begins a request; its body is the caller's to write. */
  request({ method, path, headers }: VersionRequest, signal: AbortSignal): ReturnType<typeof plainRequest> {
    const { host, port } = this.version;
    const options: RequestOptions = { host, port, method, path, headers: [...headers], agent: this.#agent, signal };
    return this.#isTls ? tlsRequest(options) : plainRequest(options);
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** Headers that are about one connection (RFC 9110, 7.6.1), and are not handed on. */
const ofOneConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
]);

/** Gives a message's headers as they are handed on: names and values by turns. */
export function headersOf({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const lower = name.toLowerCase();
    if (!ofOneConnection.has(lower) && !named.has(lower)) kept.push(name, rawHeaders[at + 1] ?? '');
  }
  return kept;
}
