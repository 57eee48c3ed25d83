import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import type { Registry } from '../identity/registry.ts';
import type { Json } from '../json.ts';
import type { Methods } from '../methods.ts';
import { desiredPatchOf, digitalTwinOf } from '../twins/digital-twin.ts';
import { twinEtag } from '../twins/twin.ts';
import type { Twins } from '../twins/twins.ts';
import { type Answer, type Call, type Route, param, readBody } from './route.ts';
import { invocationOf, invocationSchema } from './twins.ts';

const allowed = { service: ['ServiceConnect'] } as const;

/** The parts of the hub that these routes work with. */
export interface DigitalTwinRouteOptions {
  readonly registry: Registry;
  readonly twins: Twins;
  readonly methods: Methods;
}

/** IoT Plug and Play: a device by its components. @see https://learn.microsoft.com/rest/api/iothub/service/digital-twin */
export function digitalTwinRoutes(options: DigitalTwinRouteOptions): readonly Route[] {
  const { registry, twins } = options;
  const etagOf = (deviceId: string) => ({ etag: `"${twinEtag(registry.device(deviceId).twin)}"` });
  return [
    {
      method: 'GET',
      path: '/digitaltwins/:deviceId',
      allowed,
      handle: (call) => {
        const deviceId = param(call, 'deviceId');
        const body = digitalTwinOf(deviceId, registry.device(deviceId).twin);
        return { status: 200, body, headers: etagOf(deviceId) };
      },
    },
    {
      method: 'PATCH',
      path: '/digitaltwins/:deviceId',
      allowed,
      handle: (call) => {
        const deviceId = param(call, 'deviceId');
        const desired = desiredPatchOf(readBody(call, patchSchema));
        twins.patch({ deviceId }, { desired }, call.header('if-match'));
        const location = `https://${call.header('host') ?? 'localhost'}/digitaltwins/${encodeURIComponent(deviceId)}`;
        return { status: 202, headers: { ...etagOf(deviceId), location } };
      },
    },
    ...[
      '/digitaltwins/:deviceId/commands/:command',
      '/digitaltwins/:deviceId/components/:component/commands/:command',
    ].map((path): Route => ({ method: 'POST', path, allowed, handle: async (call) => await invoke(call, options) })),
  ];
}

const patchSchema = z.array(
  z.object({ op: z.enum(['add', 'replace', 'remove']), path: z.string(), value: z.json().optional() }),
);

/** A command is a direct method, of a component by its name before an asterisk. @see azure/iot/concepts-convention */
async function invoke(call: Call, { registry, methods }: DigitalTwinRouteOptions): Promise<Answer> {
  const deviceId = param(call, 'deviceId');
  const { component } = call.params;
  const command = param(call, 'command');
  const asked = invocationSchema.safeParse({
    methodName: component === undefined ? command : `${component}*${command}`,
    payload: call.body.length === 0 ? undefined : readBody<Json>(call, z.json()),
    connectTimeoutInSeconds: secondsOf(call, 'connectTimeoutInSeconds'),
    responseTimeoutInSeconds: secondsOf(call, 'responseTimeoutInSeconds'),
  });
  if (!asked.success)
    throw new HubError('ArgumentInvalid', `The command is not valid: ${z.prettifyError(asked.error)}`);
  registry.device(deviceId);
  const { status, payload } = await methods.invoke({ deviceId }, invocationOf(asked.data));
  const headers = { 'x-ms-command-statuscode': String(status), 'x-ms-request-id': randomUUID() };
  return { status: 200, body: payload ?? null, headers };
}

function secondsOf(call: Call, name: string): number | undefined {
  const text = call.query.get(name);
  return text === undefined ? undefined : Number(text);
}
