import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Clock } from '../../../shared/clock.ts';
import type { Logger } from '../../../shared/log.ts';
import type { Faults } from '../faults.ts';
import { HubError, newTrackingId } from '../hub-error.ts';
import type { Access, Admission } from '../identity/access.ts';
import type { Address } from '../identity/identity.ts';
import { readSas } from '../identity/sas.ts';
import { controlPrefix } from './control.ts';
import type { Call, Route } from './route.ts';

/** Largest body of a request, in bytes: 50 modules with 32 KiB of desired properties each, and room. */
const bodyBytesMax = 4 * 1024 * 1024;
/** A connection on which nothing comes or goes this long is closed: longer than the longest direct method. */
const idleTimeoutMs = 330_000;

/** The parts of the hub that the REST interface as such works with. */
export interface RestOptions {
  readonly routes: readonly Route[];
  readonly access: Access;
  /** The same by a clock that no fault touches: the control interface lets its owner in however far the hub's own is off. */
  readonly controlAccess: Access;
  readonly clock: Clock;
  readonly log: Logger;
  readonly faults: Faults;
}

/** Makes the HTTP server of the REST interface; it listens nowhere, connections are given to it. */
export async function openRestServer(options: RestOptions): Promise<{ readonly server: Server } & AsyncDisposable> {
  const app = fastify({
    bodyLimit: bodyBytesMax,
    routerOptions: { ignoreTrailingSlash: true, caseSensitive: false, maxParamLength: 1024 },
    clientErrorHandler: (error, socket) => refuseMalformed({ error, socket, clock: options.clock }),
    // Clients are cut when the hub closes; nothing is to wait for them.
    forceCloseConnections: true,
  });
  app.server.timeout = idleTimeoutMs;
  // By the clock that the hub goes by: it is from here that devices learn how far theirs is off.
  app.addHook('onSend', async (_request, reply) => {
    reply.header('date', new Date(options.clock.nowMs()).toUTCString());
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, _request, reply) => sendError(reply, { error, options }));
  app.setNotFoundHandler((request, reply) => {
    const error = new HubError('GenericNotFound', `There is no ${request.method} ${request.url.split('?')[0] ?? ''}`);
    return sendError(reply, { error, options });
  });
  for (const route of options.routes) addRoute(app, { route, options });
  await app.ready();
  return { server: app.server, [Symbol.asyncDispose]: () => app.close() };
}

function addRoute(
  app: FastifyInstance,
  { route, options }: { readonly route: Route; readonly options: RestOptions },
): void {
  app.route({
    method: route.method,
    url: route.path,
    bodyLimit: route.bodyBytesMax ?? bodyBytesMax,
    // Before the body is taken in: who may not call may not make the hub read.
    onRequest: async (request) => {
      if (!request.url.startsWith(controlPrefix)) {
        if (options.faults.isRefusing) {
          request.raw.socket.destroy();
          // What is cut must not take effect.
          throw new HubError('ServiceUnavailable', 'The fault "refuseConnections" is on');
        }
        if (options.faults.isOut) throw new HubError('ServiceUnavailable', 'The fault "outageMs" is on');
        await options.faults.delay();
        options.faults.check();
      }
      const query = new URL(request.url, 'https://hub').searchParams;
      if (route.unversioned !== true && (query.get('api-version') ?? '') === '') {
        throw new HubError('InvalidProtocolVersion', 'The query parameter "api-version" is missing');
      }
      admissions.set(request, authorize(request, { route, options }));
    },
    handler: async (request, reply) => {
      const answer = await route.handle(callOf(request, reply));
      reply.code(answer.status).headers({ ...answer.headers });
      if (answer.body === undefined) return await reply.send();
      if (answer.body instanceof Uint8Array) return await reply.send(answer.body);
      return await reply.header('content-type', 'application/json; charset=utf-8').send(JSON.stringify(answer.body));
    },
  });
}

const admissions = new WeakMap<FastifyRequest, Admission | undefined>();

/** @throws {HubError} IotHubUnauthorizedAccess, DeviceNotFound */
function authorize(
  request: FastifyRequest,
  { route, options }: { readonly route: Route; readonly options: RestOptions },
): Admission | undefined {
  const { service, device } = route.allowed;
  const { params } = request as { readonly params: Readonly<Record<string, string>> };
  const sas = request.headers.authorization;
  const path = (request.url.split('?')[0] ?? '')
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeURIComponent);
  const isPolicys = sas !== undefined && readSas(sas).policy !== undefined;
  if (service !== undefined && (device !== true || isPolicys)) {
    const access = request.url.startsWith(controlPrefix) ? options.controlAccess : options.access;
    access.admitService({ sas, certificate: undefined }, service, path);
    return undefined;
  }
  const { socket } = request.raw;
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.raw : undefined;
  const deviceId = params['deviceId'] ?? '';
  const address = route.allowed.modules === true ? callerOf(request, deviceId) : { deviceId };
  return options.access.admit(address, { sas, certificate });
}

/** Says who calls for a device: itself, or the module that the request names. @see https://github.com/Azure/iotedge, doc/edgehub-api.md */
function callerOf(request: FastifyRequest, deviceId: string): Address {
  const named = request.headers['x-ms-edge-moduleid'];
  if (typeof named !== 'string') return { deviceId };
  const [callersDevice, moduleId = ''] = named.split('/');
  if (callersDevice !== deviceId) {
    throw new HubError('IotHubUnauthorizedAccess', `Unauthorized: '${named}' is no module of the device '${deviceId}'`);
  }
  return { deviceId, moduleId };
}

function callOf(request: FastifyRequest, reply: FastifyReply): Call {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  const { headers } = request;
  return {
    params: request.params as Readonly<Record<string, string>>,
    query: new Map(new URL(request.url, 'https://hub').searchParams),
    headers,
    header: (name) => {
      const value = headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
    signal: gone.signal,
    admission: admissions.get(request),
  };
}

/** Errors of direct methods carry a JSON document inside of the message. */
const nested = new Set(['DeviceNotOnline', 'GatewayTimeout', 'DeviceConnectionClosedRemotely']);

async function sendError(
  reply: FastifyReply,
  { error, options }: { readonly error: unknown; readonly options: RestOptions },
): Promise<unknown> {
  const hubError = asHubError(error);
  if (hubError.status >= 500 && !(error instanceof HubError)) options.log.error({ err: error }, 'a request failed');
  const { errorName, status } = hubError;
  return await reply
    .code(status)
    .headers({ 'content-type': 'application/json; charset=utf-8', 'iothub-errorcode': errorName })
    .send(JSON.stringify(envelopeOf(hubError, options.clock)));
}

/** Answers what is no HTTP, also when it follows a request that was. */
function refuseMalformed(of: { readonly error: Error; readonly socket: Duplex; readonly clock: Clock }): void {
  const { error, socket, clock } = of;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(
    envelopeOf(new HubError('IotHubFormatError', `The request is no HTTP: ${error.message}`), clock),
  );
  const headers = `Connection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}`;
  socket.end(`HTTP/1.1 400 Bad Request\r\niothub-errorcode: IotHubFormatError\r\n${headers}\r\n\r\n${body}`);
}

function envelopeOf({ errorName, number, message }: HubError, clock: Clock): Record<string, string> {
  const now = new Date(clock.nowMs()).toISOString();
  const trackingId = newTrackingId();
  if (nested.has(errorName)) {
    const inner = { errorCode: number, trackingId, message, info: {}, timestampUtc: now };
    return { Message: JSON.stringify(inner), ExceptionMessage: '' };
  }
  const [date = '', time = ''] = now.split('T');
  const [year, month, day] = date.split('-');
  return {
    // The SDK cuts the message at semicolons.
    Message: `ErrorCode:${errorName};${message.replaceAll(';', ',')}`,
    ExceptionMessage: `Tracking ID:${trackingId}-G:0-TimeStamp:${month}/${day}/${year} ${time.slice(0, 8)}`,
  };
}

function asHubError(error: unknown): HubError {
  if (error instanceof HubError) return error;
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : undefined;
  const message = error instanceof Error ? error.message : 'The request could not be handled';
  if (status === 413) return new HubError('GenericRequestEntityTooLarge', message);
  if (typeof status === 'number' && status >= 400 && status < 500) return new HubError('ArgumentInvalid', message);
  // Damaged percent-encoding in a path.
  if (error instanceof URIError) return new HubError('ArgumentInvalid', message);
  return new HubError('ServerError', 'An unexpected error occurred');
}
