import { z } from 'zod';
import type { Commands } from '../commands.ts';
import type { EventLog } from '../events.ts';
import { HubError } from '../hub-error.ts';
import type { Registry } from '../identity/registry.ts';
import { type Message, type SystemProperties, deviceMessageBytesMax, sizeOf } from '../message.ts';
import type { Throttles } from '../throttles.ts';
import type { Uploads } from '../uploads.ts';
import { commandHeaders } from './command-headers.ts';
import { type Answer, type Call, type Route, param, readBody } from './route.ts';

const deviceOnly = { device: true, service: ['DeviceConnect'] } as const;

/** How long a message that was fetched over HTTPS stays locked. */
const lockMs = 60_000;

/** What devices do over HTTPS: telemetry, messages to them, file upload. @see https://learn.microsoft.com/rest/api/iothub/device */
export function deviceSideRoutes(options: {
  readonly registry: Registry;
  readonly events: EventLog;
  readonly commands: Commands;
  readonly uploads: Uploads;
  readonly throttles: Throttles;
}): readonly Route[] {
  const { registry, uploads, throttles } = options;
  return [
    ...['/devices/:deviceId/messages/events', '/devices/:deviceId/modules/:moduleId/messages/events'].map(
      (path): Route => ({
        method: 'POST',
        path,
        allowed: deviceOnly,
        bodyBytesMax: 2 * deviceMessageBytesMax,
        handle: (call) => takeTelemetry(call, options),
      }),
    ),
    ...commandRoutes(options),
    {
      method: 'POST',
      path: '/devices/:deviceId/files',
      allowed: deviceOnly,
      handle: async (call) => {
        throttles.check('upload initiations');
        const { blobName } = readBody(call, z.object({ blobName: z.string() }));
        return {
          status: 200,
          body: await uploads.begin(registry.device(param(call, 'deviceId')).identity.deviceId, blobName),
        };
      },
    },
    {
      method: 'POST',
      path: '/devices/:deviceId/files/notifications',
      allowed: deviceOnly,
      handle: async (call) => await endUpload(call, { uploads, correlationId: undefined }),
    },
    {
      method: 'POST',
      path: '/devices/:deviceId/files/notifications/:correlationId',
      allowed: deviceOnly,
      handle: async (call) => await endUpload(call, { uploads, correlationId: param(call, 'correlationId') }),
    },
  ];
}

const completionSchema = z.object({
  correlationId: z.string().nullish(),
  isSuccess: z.boolean(),
  statusCode: z.number().nullish(),
  statusDescription: z.string().nullish(),
});

async function endUpload(
  call: Call,
  of: { readonly uploads: Uploads; readonly correlationId: string | undefined },
): Promise<Answer> {
  const body = readBody(call, completionSchema);
  const correlationId = of.correlationId ?? body.correlationId;
  if (correlationId == null) throw new HubError('InvalidFileUploadCorrelationId', 'The correlation id is missing');
  await of.uploads.end(param(call, 'deviceId'), { correlationId, isSuccess: body.isSuccess });
  return { status: 204 };
}

const systemHeaders = {
  'iothub-messageid': 'messageId',
  'iothub-correlationid': 'correlationId',
  'iothub-userid': 'userId',
  'iothub-expiry': 'expiry',
  'iothub-to': 'to',
  'iothub-contenttype': 'contentType',
  'iothub-contentencoding': 'contentEncoding',
  'iothub-creationtimeutc': 'creationTime',
} as const satisfies Record<string, keyof SystemProperties>;

const batchSchema = z
  .array(
    z.object({
      body: z.string(),
      base64Encoded: z.boolean().nullish(),
      properties: z.record(z.string(), z.string()).nullish(),
    }),
  )
  .max(500);

function takeTelemetry(
  call: Call,
  { registry, events }: { readonly registry: Registry; readonly events: EventLog },
): Answer {
  const address = { deviceId: param(call, 'deviceId'), moduleId: call.params['moduleId'] };
  const { identity } = registry.at(address);
  const sender = {
    address,
    generationId: identity.generationId,
    authMethod: call.admission?.method ?? { scope: 'hub', type: 'sas', issuer: 'iothub' },
  };
  const isBatch = call.header('content-type')?.startsWith('application/vnd.microsoft.iothub.json') === true;
  const messages = isBatch
    ? readBody(call, batchSchema).map(({ body, base64Encoded, properties }) =>
        messageOf(properties ?? {}, Buffer.from(body, base64Encoded === false ? 'utf8' : 'base64')),
      )
    : [messageOf(textHeaders(call), call.body)];
  const bytes = messages.reduce((sum, message) => sum + sizeOf(message), 0);
  if (bytes > deviceMessageBytesMax) {
    throw new HubError(
      'MessageTooLarge',
      `The message has ${bytes} bytes, ${deviceMessageBytesMax} at most are allowed`,
    );
  }
  for (const message of messages) events.append(sender, message);
  return { status: 204 };
}

function textHeaders(call: Call): Readonly<Record<string, string>> {
  const headers = Object.entries(call.headers);
  return Object.fromEntries(headers.flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])));
}

/** Makes a message of headers, or of the properties of one of a batch, which are named the same. */
function messageOf(headers: Readonly<Record<string, string>>, body: Buffer): Message {
  const system = new Map<string, string>();
  const properties = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (Object.hasOwn(systemHeaders, lower)) system.set(systemHeaders[lower as keyof typeof systemHeaders], value);
    else if (lower.startsWith('iothub-app-')) properties.set(name.slice('iothub-app-'.length), value);
  }
  return { system: Object.fromEntries(system), properties: Object.fromEntries(properties), body };
}

function commandRoutes({
  registry,
  commands,
}: {
  readonly registry: Registry;
  readonly commands: Commands;
}): readonly Route[] {
  /** @throws {HubError} DeviceNotFound: a hub-wide token may name any device */
  const deviceOf = (call: Call): string => registry.device(param(call, 'deviceId')).identity.deviceId;
  const path = '/devices/:deviceId/messages/devicebound';
  return [
    {
      method: 'GET',
      path,
      allowed: deviceOnly,
      handle: (call) => {
        const command = commands.receive(deviceOf(call), lockMs);
        if (command === undefined) return { status: 204 };
        return { status: 200, body: command.message.body, headers: commandHeaders(command) };
      },
    },
    {
      method: 'DELETE',
      path: `${path}/:lockToken`,
      allowed: deviceOnly,
      handle: (call) => {
        const [deviceId, token] = [deviceOf(call), param(call, 'lockToken')];
        if (call.query.has('reject')) commands.reject(deviceId, token);
        else commands.complete(deviceId, token);
        return { status: 204 };
      },
    },
    {
      method: 'POST',
      path: `${path}/:lockToken/abandon`,
      allowed: deviceOnly,
      handle: (call) => {
        commands.abandon(deviceOf(call), param(call, 'lockToken'));
        return { status: 204 };
      },
    },
    {
      method: 'DELETE',
      path: '/devices/:deviceId/commands',
      allowed: { service: ['ServiceConnect'] },
      handle: (call) => {
        const deviceId = deviceOf(call);
        return { status: 200, body: { deviceId, totalMessagesPurged: commands.purge(deviceId) } };
      },
    },
  ];
}
