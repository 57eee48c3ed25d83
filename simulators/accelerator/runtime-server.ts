import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FerryError, messageOf, systemCodeOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { type CardModel, checkInputs } from './card-model.ts';
import { Device } from './device.ts';
import { readInfer, writeInfer } from './infer-message.ts';
import { Refusal } from './refusal.ts';

/** The settings of {@link startRuntimeServer}. */
export interface RuntimeServerOptions {
  readonly model: CardModel;
  readonly name: string;
  readonly version: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** @default '127.0.0.1' */
  readonly host?: string | undefined;
  /** What one run takes at least, in milliseconds. @default 1 */
  readonly latencyMs?: number | undefined;
  /** Requests that may wait; one more is refused. @default 64 */
  readonly queueMax?: number | undefined;
  readonly log: Pick<Logger, 'warn' | 'error'>;
}

/** A simulated accelerator that runs. */
export interface Accelerator extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Runs since the start. */
  readonly runs: number;
}

/** The largest request. */
const bodyBytesMax = 64 * 1024 * 1024;
const jsonLength = 'inference-header-content-length';

/** Serves a model on a simulated card. @throws {FerryError} PORT_IN_USE */
export async function startRuntimeServer(options: RuntimeServerOptions): Promise<Accelerator> {
  const { model, name, version, port, host = '127.0.0.1', latencyMs = 1, queueMax = 64, log } = options;
  const runtime = { name, version, model, device: new Device({ latencyMs, queueMax }) };
  const server = createServer((request, response) => void serve(request, response, { runtime, log }));
  const bound = await listen(server, port, host);
  const { nodes, accelerated } = model.placement;
  log.warn(
    { port: bound, model: name, version, nodes, accelerated, latencyMs, simulated: true },
    'simulated accelerator listens',
  );
  return {
    port: bound,
    url: `http://${host}:${bound}`,
    get runs() {
      return runtime.device.figures.runs;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await model.close();
    },
  };
}

/** What answers: one card with one model. */
interface Runtime {
  readonly name: string;
  readonly version: string;
  readonly model: CardModel;
  readonly device: Device;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { runtime, log }: { readonly runtime: Runtime; readonly log: RuntimeServerOptions['log'] },
): Promise<void> {
  try {
    const [path = ''] = (request.url ?? '').split('?');
    const parts = path.split('/').slice(1).map(decodeURIComponent);
    if (parts[0] !== 'v2') throw new Refusal(404, `There is nothing at "${path}"`);
    if (parts[1] === 'models') await answerModel(request, response, { parts: parts.slice(2), runtime });
    else if (parts.length === 1) json(response, serverMetadata);
    else if (path === '/v2/health/live') json(response, { live: true });
    else if (path === '/v2/health/ready') json(response, { ready: true });
    else throw new Refusal(404, `There is nothing at "${path}"`);
  } catch (error) {
    if (!(error instanceof Refusal)) log.error({ err: error }, 'request failed');
    const status = error instanceof Refusal ? error.status : 500;
    // What is left of a body is not read.
    if (!response.headersSent)
      json(response, { error: messageOf(error) }, { status, connection: request.complete ? 'keep-alive' : 'close' });
  }
}

const serverMetadata = {
  name: 'modelferry-simulated-accelerator',
  version: '1',
  extensions: ['binary_tensor_data'],
  simulated: true,
};

/** `{model}[/versions/{version}][/ready|/infer]` */
async function answerModel(
  request: IncomingMessage,
  response: ServerResponse,
  { parts, runtime }: { readonly parts: readonly string[]; readonly runtime: Runtime },
): Promise<void> {
  const { name, version } = runtime;
  const hasVersion = parts[1] === 'versions';
  if (parts[0] !== name || (hasVersion && parts[2] !== version)) {
    throw new Refusal(
      404,
      `There is no model "${parts.slice(0, 3).join('/')}": the card has "${name}/versions/${version}"`,
    );
  }
  const [what, more] = parts.slice(hasVersion ? 3 : 1);
  if (more !== undefined) throw new Refusal(404, 'There is nothing of that name of a model');
  const wanted = what === 'infer' ? 'POST' : 'GET';
  if (request.method !== wanted) throw new Refusal(405, `The method is ${request.method}, ${wanted} was wanted`);
  if (what === undefined) json(response, metadataOf(runtime));
  else if (what === 'ready') json(response, { name, ready: true });
  else if (what === 'infer') await infer(request, response, runtime);
  else throw new Refusal(404, `There is nothing at "${what}" of a model`);
}

async function infer(request: IncomingMessage, response: ServerResponse, runtime: Runtime): Promise<void> {
  const asked = readInfer(await readBody(request), jsonBytesOf(request));
  const inputs = checkInputs(runtime.model, asked.inputs);
  const { result, queueMs, runMs } = await runtime.device.run(
    () => runtime.model.run(inputs),
    () => !response.destroyed,
  );
  const parameters = { simulated: true, queue_ms: queueMs, run_ms: runMs };
  const { body, jsonBytes } = writeInfer(asked, { ...runtime, parameters }, result);
  response.writeHead(200, {
    'content-type': jsonBytes === undefined ? 'application/json' : 'application/octet-stream',
    'content-length': body.byteLength,
    ...(jsonBytes !== undefined && { [jsonLength]: jsonBytes }),
  });
  response.end(body);
}

/** What the protocol says of a model, and beside it how much of it the card took. */
function metadataOf({ name, version, model, device }: Runtime): object {
  const { nodes, accelerated, fallbacks } = model.placement;
  const { runs, meanRunMs, waiting } = device.figures;
  return {
    name,
    versions: [version],
    platform: 'onnxruntime_onnx',
    inputs: model.inputs,
    outputs: model.outputs,
    parameters: {
      simulated: true,
      accelerator: 'simulated',
      nodes,
      accelerated_nodes: accelerated,
      accelerated_share: nodes === 0 ? 0 : accelerated / nodes,
      fallback_nodes: fallbacks.map(({ name: node, operator, reason }) => ({ name: node, op_type: operator, reason })),
      runs,
      mean_run_ms: meanRunMs,
      waiting,
    },
  };
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
    throw new FerryError('PORT_IN_USE', `Cannot listen on ${host}:${port}: another program does`, { cause });
  }
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.byteLength;
    if (bytes > bodyBytesMax) throw new Refusal(413, `The request has more than ${bodyBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function jsonBytesOf({ headers }: IncomingMessage): number | undefined {
  const text = headers[jsonLength];
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^\d{1,9}$/.test(text)) return Number(text);
  throw new Refusal(400, `"${jsonLength}" is no length`);
}

function json(response: ServerResponse, body: object, more: { status?: number; connection?: string } = {}): void {
  const { status = 200, connection } = more;
  response.writeHead(status, { 'content-type': 'application/json', ...(connection !== undefined && { connection }) });
  response.end(JSON.stringify(body));
}
