import { chown, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { get, request } from 'node:http';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BoundSocket, type ContainerEngine, dataMountPoint } from '../../../../shared/containers/engine.ts';
import { FerryError } from '../../../../shared/errors.ts';
import { checkAnswer } from '../../check-answer.ts';
import type { HostDesired } from '../host-state.ts';
import { freePort } from '../free-port.ts';
import { Upstream } from './upstream.ts';

/** How long a replica may take until it is ready, in milliseconds. */
const readyTimeoutMs = 120_000;
const readyPollMs = 20;
/** How long it may take to read its keys again, in milliseconds. */
const acceptTimeoutMs = 20_000;
/** How long one question to a replica may take, in milliseconds. */
const askTimeoutMs = 5_000;
/** How long it may take to end by itself, in milliseconds: it answers what it has, and sends what it has collected. */
const stopGraceMs = 20_000;
/** Lines of its output that a failure repeats. */
const failureLines = 5;
const scoringPort = '5001/tcp';
const callersFile = 'callers.json';
const uploadFile = 'upload-url';
/** Where it stands, the replica accepts connections at the service's port. */
const provenFile = 'proven';
const storageCaFile = 'storage-ca.pem';
const secretMode = 0o600;

/** Label that says which replica specification a container was made by, and which port it has. */
export const specLabel = 'modelferry.replica';
export const portLabel = 'modelferry.port';

/** What a replica is run with. */
export interface ReplicaContext {
  readonly engine: ContainerEngine;
  /** Folder of the service. */
  readonly folder: string;
  /** What it accepts connections at beside its own port. @default nothing */
  readonly socket?: BoundSocket | undefined;
}

/** One container of the service. */
export class Replica {
  readonly name: string;
  /** Digest of what it was made of. */
  readonly spec: string;
  readonly upstream: Upstream;
  readonly #context: ReplicaContext;
  /** Questions that it failed to answer in a row. */
  failures = 0;
  /** For how long it had been at requests, all together, when it was last asked. */
  #busy: { readonly atMs: number; readonly seconds: number } | undefined;

  constructor(
    context: ReplicaContext,
    { name, spec, port }: { readonly name: string; readonly spec: string; readonly port: number },
  ) {
    this.#context = context;
    this.name = name;
    this.spec = spec;
    this.upstream = new Upstream(name, port);
  }

  /** Makes its container and starts it, waits until it is ready, and has it score the sample. When that fails nothing of it is left. */
  static async start(
    context: ReplicaContext,
    { name, spec, desired }: { readonly name: string; readonly spec: string; readonly desired: HostDesired },
    signal: AbortSignal,
  ): Promise<Replica> {
    const replica = new Replica(context, { name, spec, port: await freePort() });
    const { engine, folder } = context;
    const dataFolder = join(folder, 'data', name);
    await mkdir(dataFolder, { recursive: true });
    await rm(join(dataFolder, provenFile), { force: true });
    await writeSecretFiles(dataFolder, desired);
    const { memoryBytes, nanoCpus, image } = desired.replica;
    const { port } = replica.upstream;
    try {
      await engine.create(
        {
          name,
          image,
          environment: replicaEnvironment(desired, engine.kind === 'docker' ? dataMountPoint : dataFolder),
          settings: {
            ExposedPorts: { [scoringPort]: {} },
            HostConfig: {
              PortBindings: { [scoringPort]: [{ HostIp: '127.0.0.1', HostPort: String(port) }] },
              ...(memoryBytes === undefined ? {} : { Memory: memoryBytes }),
              ...(nanoCpus === undefined ? {} : { NanoCpus: nanoCpus }),
            },
          },
          dataFolder,
          labels: { [specLabel]: spec, [portLabel]: String(port) },
        },
        signal,
      );
      await engine.start(name, { signal, socket: context.socket });
      await replica.#untilReady(signal);
      await replica.prove(desired, signal);
      return replica;
    } catch (error) {
      await replica.stop(0);
      throw error;
    }
  }

  /** Has it score the sample. @throws {FerryError} SCORING_FAILED when it answers otherwise than when the model was registered */
  async prove({ service, sample, credential, scoringTimeoutMs }: HostDesired, signal: AbortSignal): Promise<void> {
    if (sample === undefined) return;
    const answer = await ask(this.upstream.port, {
      path: '/score',
      method: 'POST',
      body: JSON.stringify(sample.input),
      credential,
      signal: AbortSignal.any([signal, AbortSignal.timeout(scoringTimeoutMs)]),
    });
    if (answer.status !== 200) {
      const said = answer.text.slice(0, 300);
      throw new FerryError(
        'SCORING_FAILED',
        `Cannot accept the replica "${this.name}": it answers the sample with ${answer.status}: ${said}`,
      );
    }
    if (sample.output !== null) checkAnswer(service, { expected: sample.output, answer: JSON.parse(answer.text) });
  }

  /** Waits until it has read the keys that are wanted now. */
  async untilAccepts({ credential }: HostDesired, signal: AbortSignal): Promise<void> {
    if (credential === undefined) return;
    const endMs = performance.now() + acceptTimeoutMs;
    while ((await ask(this.upstream.port, { path: '/v2', method: 'GET', credential, signal })).status === 401) {
      if (performance.now() > endMs) {
        const found = `it refuses the keys of now after ${acceptTimeoutMs / 1000} s`;
        throw new FerryError('SERVICE_FAILED', `Cannot renew the keys of the replica "${this.name}": ${found}`);
      }
      await sleep(readyPollMs, undefined, { signal });
    }
  }

  /** Asks whether it is ready. */
  async isReady(signal: AbortSignal): Promise<boolean> {
    return isReadyAt(this.upstream.port, signal);
  }

  /** Lets it accept connections at the service's port, where it was handed that. */
  async letIn(): Promise<void> {
    await writeFile(join(this.#context.folder, 'data', this.name, provenFile), '');
  }

  /**
   * Asks how many requests it is at, where they do not come through here: at most of now, and of the mean since it was asked before, for light ones
   * come and go between two looks. What it does not tell stays as it was.
   */
  async countRequests({ credential }: HostDesired, signal: AbortSignal): Promise<void> {
    const question = { path: '/metrics', method: 'GET', credential, signal } as const;
    const { text } = await ask(this.upstream.port, question).catch(() => ({ text: '' }));
    const [, open] = /^modelferry_open_requests (\d+)$/m.exec(text) ?? [];
    if (open === undefined) return;
    const sums = [...text.matchAll(/^modelferry_request_seconds_sum\{[^}]*\} (\S+)$/gm)].map(([, sum]) => Number(sum));
    const now = { atMs: performance.now(), seconds: sums.reduce((all, sum) => all + sum, 0) };
    const before = this.#busy ?? now;
    this.#busy = now;
    const mean = ((now.seconds - before.seconds) * 1000) / Math.max(1, now.atMs - before.atMs);
    // This one is none of them.
    this.upstream.outstanding = Math.max(0, Number(open) - 1, Math.round(mean));
  }

  /** Ends it and removes its container. */
  async stop(graceMs = stopGraceMs): Promise<void> {
    const { engine } = this.#context;
    await engine.stop(this.name, { graceMs });
    await engine.remove(this.name);
  }

  /** Gives the last lines that it wrote. */
  async lastLines(): Promise<string> {
    const log = await this.#context.engine.logs(this.name, { tail: 200 }).catch(() => '');
    return telling(log);
  }

  async #untilReady(signal: AbortSignal): Promise<void> {
    const { engine } = this.#context;
    const endMs = performance.now() + readyTimeoutMs;
    for (let look = 0; ; look += 1) {
      if (await this.isReady(signal)) return;
      // Looking at the engine takes longer than asking the port.
      if (look % 5 === 4) {
        const state = (await engine.list(signal)).find(({ name }) => name === this.name);
        if (state?.status !== 'running') {
          const ended = `it ended with exit code ${state?.exitCode ?? 'unknown'}`;
          throw new FerryError(
            'SERVICE_FAILED',
            `Cannot start the replica "${this.name}": ${ended}: ${await this.lastLines()}`,
          );
        }
      }
      if (performance.now() > endMs) {
        const found = `it is not ready after ${readyTimeoutMs / 1000} s`;
        throw new FerryError(
          'SERVICE_FAILED',
          `Cannot start the replica "${this.name}": ${found}: ${await this.lastLines()}`,
        );
      }
      await sleep(readyPollMs, undefined, { signal });
    }
  }
}

/** Writes what only the scoring server may read into its folder; a server that runs reads it again by itself. */
export async function writeSecretFiles(
  dataFolder: string,
  { callers, uploadUrl, storageCa }: HostDesired,
): Promise<void> {
  const { uid, gid } = await stat(dataFolder);
  for (const [name, content] of [
    [callersFile, callers],
    [uploadFile, uploadUrl],
    [storageCaFile, storageCa],
  ] as const) {
    if (content === undefined) continue;
    const path = join(dataFolder, name);
    await writeFile(path, content, { mode: secretMode });
    if (process.getuid?.() === 0) await chown(path, uid, gid);
  }
}

function replicaEnvironment({ replica, storageCa }: HostDesired, dataFolder: string): Record<string, string> {
  return {
    ...replica.environment,
    ...(replica.hasCallers ? { MODELFERRY_KEYS_FILE: join(dataFolder, callersFile) } : {}),
    ...(replica.hasUpload ? { MODELFERRY_UPLOAD_SAS_FILE: join(dataFolder, uploadFile) } : {}),
    ...(replica.listensAt === undefined ? {} : { MODELFERRY_LISTEN_WHEN: join(dataFolder, provenFile) }),
    ...(storageCa === undefined ? {} : { NODE_EXTRA_CA_CERTS: join(dataFolder, storageCaFile) }),
  };
}

/** Of a log in JSON lines, what went wrong; else its last lines. */
function telling(log: string): string {
  const lines = log.trimEnd().split('\n').filter(Boolean);
  const wrong = lines.filter((line) => /"level":"(?:error|fatal)"/.test(line));
  const chosen = (wrong.length > 0 ? wrong : lines).slice(-failureLines);
  return chosen.map(messageIn).join(' | ') || 'it wrote nothing';
}

function messageIn(line: string): string {
  try {
    const { msg } = JSON.parse(line) as { msg?: unknown };
    return typeof msg === 'string' ? msg : line;
  } catch {
    return line;
  }
}

async function isReadyAt(port: number, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const asking = get(
    { host: '127.0.0.1', port, path: '/v2/health/ready', agent: false, signal, timeout: askTimeoutMs },
    (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    },
  );
  asking.on('timeout', () => asking.destroy());
  asking.on('error', () => resolve(false));
  return promise;
}

interface Question {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly body?: string;
  readonly credential: string | undefined;
  readonly signal: AbortSignal;
}

async function ask(
  port: number,
  { path, method, body = '', credential, signal }: Question,
): Promise<{ readonly status: number; readonly text: string }> {
  const asking = request({
    host: '127.0.0.1',
    port,
    path,
    method,
    agent: false,
    signal,
    headers: {
      ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
  asking.on('error', reject);
  asking.on('response', (response) => {
    textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  asking.end(body);
  return promise;
}
