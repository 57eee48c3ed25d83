import { type Sources, deviceDocument, moduleDocument } from '../documents.ts';
import { HubError } from '../hub-error.ts';
import { type ModuleBody, deviceBodySchema, isSystemModule, moduleBodySchema } from '../identity/identity.ts';
import { type Call, type Route, param, readBody, readCount } from './route.ts';

const read = { service: ['RegistryRead', 'RegistryWrite'] } as const;
const write = { service: ['RegistryWrite'] } as const;
// An IoT Edge device looks after its own modules.
const readOwn = { ...read, device: true } as const;
const writeOwn = { ...write, device: true } as const;

/** The identity registry: devices, their modules, and counts. @see https://learn.microsoft.com/rest/api/iothub/service */
export function deviceRoutes(sources: Sources): readonly Route[] {
  const { registry } = sources;
  return [
    {
      method: 'GET',
      path: '/devices',
      allowed: read,
      handle: (call) => {
        const top = readCount(call, 'top', { fallback: 1000, max: 1000 });
        const devices = [...registry.devices.values()].slice(0, top);
        return { status: 200, body: devices.map((device) => deviceDocument(sources, device)) };
      },
    },
    {
      method: 'GET',
      path: '/devices/:deviceId',
      allowed: readOwn,
      handle: (call) => withEtag(deviceDocument(sources, registry.device(param(call, 'deviceId')))),
    },
    {
      method: 'PUT',
      path: '/devices/:deviceId',
      allowed: write,
      handle: (call) => {
        const body = readBody(call, deviceBodySchema);
        checkSameId(body.deviceId, param(call, 'deviceId'));
        const ifMatch = call.header('if-match');
        const { deviceId } = ifMatch === undefined ? registry.createDevice(body) : registry.updateDevice(body, ifMatch);
        return withEtag(deviceDocument(sources, registry.device(deviceId)));
      },
    },
    {
      method: 'DELETE',
      path: '/devices/:deviceId',
      allowed: write,
      handle: (call) => {
        registry.removeDevice(param(call, 'deviceId'), call.header('if-match'));
        return { status: 204 };
      },
    },
    {
      method: 'GET',
      path: '/statistics/devices',
      allowed: read,
      handle: () => {
        const total = registry.devices.size;
        const enabled = [...registry.devices.values()].filter(({ identity }) => identity.status === 'enabled').length;
        return {
          status: 200,
          body: { totalDeviceCount: total, enabledDeviceCount: enabled, disabledDeviceCount: total - enabled },
        };
      },
    },
    {
      method: 'GET',
      path: '/statistics/service',
      allowed: read,
      handle: () => ({ status: 200, body: { connectedDeviceCount: sources.presence.connectedDevices } }),
    },
    ...moduleRoutes(sources),
  ];
}

function moduleRoutes(sources: Sources): readonly Route[] {
  const { registry } = sources;
  return [
    {
      method: 'GET',
      path: '/devices/:deviceId/modules',
      allowed: readOwn,
      handle: (call) => {
        const { modules } = registry.device(param(call, 'deviceId'));
        return { status: 200, body: [...modules.values()].map((module) => moduleDocument(sources, module)) };
      },
    },
    {
      method: 'GET',
      path: '/devices/:deviceId/modules/:moduleId',
      allowed: readOwn,
      handle: (call) =>
        withEtag(moduleDocument(sources, registry.module(param(call, 'deviceId'), param(call, 'moduleId')))),
    },
    {
      method: 'PUT',
      path: '/devices/:deviceId/modules/:moduleId',
      allowed: writeOwn,
      handle: (call) => putModule(sources, call),
    },
    {
      method: 'DELETE',
      path: '/devices/:deviceId/modules/:moduleId',
      allowed: writeOwn,
      handle: (call) => {
        const address = { deviceId: param(call, 'deviceId'), moduleId: param(call, 'moduleId') };
        registry.removeModule(address, call.header('if-match'));
        return { status: 204 };
      },
    },
  ];
}

function putModule(sources: Sources, call: Call): ReturnType<Route['handle']> {
  const { registry } = sources;
  const body = readBody(call, moduleBodySchema);
  checkSameId(body.deviceId, param(call, 'deviceId'));
  checkSameId(body.moduleId, param(call, 'moduleId'));
  const ifMatch = call.header('if-match');
  const isNew = ifMatch === undefined;
  if (isNew) registry.createModule(body);
  else registry.updateModule(asAllowed(call, body), ifMatch);
  const document = moduleDocument(sources, registry.module(body.deviceId, body.moduleId));
  return { ...withEtag(document), status: isNew ? 201 : 200 };
}

/** An Edge device may give its system modules keys, and nothing else. */
function asAllowed(call: Call, body: ModuleBody): ModuleBody {
  return call.admission !== undefined && isSystemModule(body.moduleId) ? { ...body, managedBy: null } : body;
}

function withEtag(document: Record<string, unknown>): {
  status: number;
  body: unknown;
  headers: Record<string, string>;
} {
  return { status: 200, body: document, headers: { etag: `"${String(document['etag'])}"` } };
}

/** The body names what the path names. */
export function checkSameId(inBody: string, inPath: string): void {
  if (inBody === inPath) return;
  throw new HubError(
    'ArgumentInvalid',
    `The body is about "${inBody.slice(0, 140)}", the path about "${inPath.slice(0, 140)}"`,
  );
}
