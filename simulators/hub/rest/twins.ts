import { z } from 'zod';
import { type Sources, deviceRows, moduleRows, twinDocument } from '../documents.ts';
import type { Address } from '../identity/identity.ts';
import { type Json, type JsonObject, isObject } from '../json.ts';
import type { Invocation, Methods } from '../methods.ts';
import { type Collection, parseQuery } from '../query/parser.ts';
import { type KeyedRow, runQuery } from '../query/run.ts';
import type { Twins } from '../twins/twins.ts';
import { readContinuation, readPageSize, writeContinuation } from './pages.ts';
import { type Answer, type Call, type Route, param, readBody } from './route.ts';

const serviceOnly = { service: ['ServiceConnect'] } as const;

/** The parts of the hub that these routes work with. */
export interface TwinRouteOptions {
  readonly sources: Sources;
  readonly twins: Twins;
  readonly methods: Methods;
  readonly jobRows: () => Iterable<KeyedRow>;
}

/** Twins, queries and direct methods. @see https://learn.microsoft.com/rest/api/iothub/service/devices/get-twin */
export function twinRoutes(options: TwinRouteOptions): readonly Route[] {
  return [
    ...['/twins/:deviceId', '/twins/:deviceId/modules/:moduleId'].flatMap((path) => routesOf(path, options)),
    {
      method: 'POST',
      path: '/devices/query',
      allowed: serviceOnly,
      handle: (call) => query(call, options),
    },
  ];
}

function routesOf(path: string, options: TwinRouteOptions): readonly Route[] {
  const { sources, twins, methods } = options;
  const answer = (address: Address): Answer => {
    const document = twinDocument(sources, address);
    return { status: 200, body: document, headers: { etag: `"${String(document['etag'])}"` } };
  };
  return [
    { method: 'GET', path, allowed: serviceOnly, handle: (call) => answer(addressOf(call)) },
    {
      method: 'PATCH',
      path,
      allowed: serviceOnly,
      handle: (call) => {
        const body = readBody(call, changeSchema);
        const change = { tags: objectIn(body.tags), desired: objectIn(body.properties?.desired) };
        twins.patch(addressOf(call), change, call.header('if-match'));
        return answer(addressOf(call));
      },
    },
    {
      method: 'PUT',
      path,
      allowed: serviceOnly,
      handle: (call) => {
        const body = readBody(call, changeSchema);
        const change = { tags: objectIn(body.tags), desired: objectIn(body.properties?.desired) };
        twins.replace(addressOf(call), change, call.header('if-match'));
        return answer(addressOf(call));
      },
    },
    {
      method: 'POST',
      path: `${path}/methods`,
      // A module calls methods of its own device through its gateway, which is the hub itself here.
      allowed: { ...serviceOnly, device: true, modules: true },
      unversioned: true,
      handle: async (call) => {
        const body = readBody(call, invocationSchema);
        const address = addressOf(call);
        sources.registry.at(address);
        const result = await methods.invoke(address, invocationOf(body));
        return { status: 200, body: { status: result.status, payload: result.payload ?? null } };
      },
    },
  ];
}

const changeSchema = z.object({
  tags: z.record(z.string(), z.unknown()).nullish(),
  properties: z.object({ desired: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

/** Time-outs that a caller may ask for. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-direct-methods */
export const invocationSchema = z.object({
  methodName: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^/+#?\p{Cc}]+$/u, 'must be a part of a topic'),
  payload: z.unknown().optional(),
  responseTimeoutInSeconds: z.number().int().min(5).max(300).nullish(),
  connectTimeoutInSeconds: z.number().int().min(0).max(300).nullish(),
});

/** Makes of a request what the device is to be asked. */
export function invocationOf(body: z.infer<typeof invocationSchema>): Invocation {
  return {
    method: body.methodName,
    payload: body.payload as Json | undefined,
    responseTimeoutMs: (body.responseTimeoutInSeconds ?? 30) * 1000,
    connectTimeoutMs: (body.connectTimeoutInSeconds ?? 0) * 1000,
  };
}

/** What came out of `JSON.parse` is JSON. */
function objectIn(value: unknown): JsonObject | undefined {
  return isObject(value) ? value : undefined;
}

function addressOf(call: Call): Address {
  return { deviceId: param(call, 'deviceId'), moduleId: call.params['moduleId'] };
}

function query(call: Call, options: TwinRouteOptions): Answer {
  const { query: text } = readBody(call, z.object({ query: z.string() }));
  const parsed = parseQuery(text);
  const size = readPageSize(call.header('x-ms-max-item-count'));
  const from = readContinuation(call.header('x-ms-continuation'), text);
  const page = runQuery(parsed, rowsOf(parsed.from, options), { size, from });
  return {
    status: 200,
    body: page.rows,
    headers: {
      'x-ms-item-type': itemType(parsed.from, parsed.select === '*'),
      ...(page.next === undefined ? {} : { 'x-ms-continuation': writeContinuation(page.next, text) }),
    },
  };
}

function rowsOf(from: Collection, { sources, jobRows }: TwinRouteOptions): Iterable<KeyedRow> {
  if (from === 'devices') return deviceRows(sources);
  return from === 'devices.modules' ? moduleRows(sources) : jobRows();
}

function itemType(from: Collection, isWhole: boolean): string {
  if (!isWhole) return 'Raw';
  return from === 'devices.jobs' ? 'DeviceJob' : 'Twin';
}
