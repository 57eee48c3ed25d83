import { type Packet, generate } from 'mqtt-packet';
import type { Random } from '../../random.ts';

// What the fuzz sends: things a client may send, and the same with something wrong.

const awkward = [
  '',
  ' ',
  '/',
  '#',
  '+',
  '%',
  '%zz',
  '%00',
  '$',
  '..',
  '__proto__',
  'constructor',
  'a'.repeat(300),
  '\u{1F600}',
  "'",
  '"',
  ';',
  '[[',
  '{',
  'null',
] as const;

/** Makes an MQTT packet of device "fuzz"; what ends the connection is seldom, so that most of what follows is looked at. */
export function mqttInput(random: Random): Buffer {
  if (random.oneIn(200)) return random.bytes(1 + random.below(64));
  const bytes = generate(packet(random));
  return random.oneIn(50) ? mutate(random, bytes) : bytes;
}

function packet(random: Random): Packet {
  const messageId = 1 + random.below(0xffff);
  switch (random.below(8)) {
    case 0:
      return {
        cmd: 'subscribe',
        messageId,
        subscriptions: [{ topic: filter(random), qos: random.pick([0, 1, 2] as const) }],
      };
    case 1:
      return { cmd: 'unsubscribe', messageId, unsubscriptions: [filter(random)] };
    case 2:
      return { cmd: 'puback', messageId };
    default:
      return {
        cmd: 'publish',
        messageId,
        topic: topic(random),
        payload: random.oneIn(3) ? random.bytes(random.below(200)) : jsonText(random),
        qos: random.oneIn(200) ? 2 : random.pick([0, 1] as const),
        dup: random.oneIn(9),
        retain: random.oneIn(9),
      };
  }
}

function filter(random: Random): string {
  return random.pick([
    '$iothub/twin/res/#',
    '$iothub/methods/POST/#',
    '$iothub/twin/PATCH/properties/desired/#',
    'devices/fuzz/messages/devicebound/#',
    'devices/kept/messages/devicebound/#',
    '#',
    `$iothub/${random.pick(awkward) || 'x'}`,
  ]);
}

function topic(random: Random): string {
  const word = random.oneIn(40) ? random.pick(awkward).replaceAll(/[#+]/g, 'x') : String(random.below(9));
  const valid = [
    'devices/fuzz/messages/events/',
    `devices/fuzz/messages/events/$.ct=application%2Fjson&${word}=${word}`,
    `$iothub/twin/GET/?$rid=${random.below(9)}`,
    `$iothub/twin/PATCH/properties/reported/?$rid=${word}`,
    `$iothub/twin/PATCH/properties/reported/?$rid=1&$version=${word}`,
    `$iothub/methods/res/200/?$rid=${random.below(20).toString(16)}`,
  ] as const;
  if (!random.oneIn(150)) return random.pick(valid);
  return random.pick([
    'devices/kept/messages/events/',
    `$iothub/twin/${word}`,
    `devices/${word}`,
    word === '' ? 'x' : word,
    '$iothub/methods/res/abc/?$rid=1',
  ]);
}

/** Makes a JSON text of any shape, or nearly one. */
export function jsonText(random: Random): string {
  const text = JSON.stringify(json(random, 0)) ?? 'null';
  if (random.oneIn(6)) return text.slice(0, random.below(text.length + 1));
  return random.oneIn(30) ? '['.repeat(2000) : text;
}

function json(random: Random, depth: number): unknown {
  switch (random.below(depth > 12 ? 5 : 8)) {
    case 0:
      return random.pick(awkward);
    case 1:
      return random.pick([0, -1, 1e308, 2 ** 53, 0.1]);
    case 2:
      return null;
    case 3:
      return random.oneIn(2);
    case 4:
      return 'x'.repeat(random.below(random.oneIn(20) ? 5000 : 50));
    case 5:
      return Array.from({ length: random.below(4) }, () => json(random, depth + 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [
          random.pick(['a', 'b', 'tags', 'properties', 'desired', 'reported', '$version', '$metadata', ...awkward]),
          json(random, depth + 1),
        ]),
      );
  }
}

/** A request of the fuzz. */
export interface RestInput {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Makes a request that never names the device "kept". */
export function restInput(random: Random): RestInput {
  const id = random.oneIn(4) ? encodeURIComponent(random.pick(awkward)) : `fuzz-${random.below(20)}`;
  const path = random.pick([
    '/devices',
    `/devices/${id}`,
    `/devices/${id}/modules`,
    `/devices/${id}/modules/${encodeURIComponent(random.pick(['camera', '$edgeAgent', ...awkward]))}`,
    '/devices/query',
    `/devices/${id}/applyConfigurationContent`,
    `/devices/${id}/messages/events`,
    `/devices/${id}/messages/devicebound`,
    `/devices/${id}/files/notifications`,
    `/twins/${id}`,
    `/twins/${id}/modules/$edgeAgent`,
    `/configurations/${id}`,
    '/configurations',
    '/configurations/testQueries',
    `/jobs/v2/${id}`,
    '/jobs/v2/query',
    '/jobs/create',
    `/jobs/${id}`,
    `/digitaltwins/${id}`,
    `/digitaltwins/${id}/commands/${encodeURIComponent(random.pick(['ping', ...awkward]))}`,
    '/statistics/devices',
    `/${random.pick(['x', 'devices/%zz', '%', '//', 'devices/a/b/c/d'])}`,
  ]);
  return {
    method: random.pick(['GET', 'PUT', 'POST', 'PATCH', 'DELETE']),
    path: random.oneIn(30)
      ? path
      : `${path}?api-version=2021-04-12${random.oneIn(10) ? `&top=${encodeURIComponent(random.pick(awkward))}` : ''}`,
    headers: {
      'content-type': random.pick([
        'application/json',
        'application/json; charset=utf-8',
        'text/plain',
        'application/vnd.microsoft.iothub.json',
        'x',
      ]),
      ...(random.oneIn(2) ? { 'if-match': random.pick(['*', '"*"', '"x"', '', 'W/"AAAAAAAAAAE="']) } : {}),
      ...(random.oneIn(9) ? { 'x-ms-continuation': random.pick(['x', 'e30=', 'eyJhZnRlciI6ImEifQ==']) } : {}),
      ...(random.oneIn(9) ? { 'x-ms-max-item-count': random.pick(['0', '1', '-1', 'x', '99999999999']) } : {}),
    },
    body: restBody(random, id),
  };
}

function restBody(random: Random, id: string): string {
  if (random.oneIn(4)) return jsonText(random);
  const condition = random.pick([
    "tags.a = 'x'",
    '*',
    '',
    'tags.',
    '((((',
    "from devices.modules where moduleId = 'a'",
    'NOT NOT NOT true',
    "deviceId IN ['a', 'b'",
  ]);
  const bodies = [
    { deviceId: id, capabilities: { iotEdge: random.oneIn(2) }, status: random.pick(['enabled', 'disabled', 'x']) },
    { deviceId: id, moduleId: 'camera', authentication: { type: random.pick(['sas', 'none', 'selfSigned']) } },
    {
      query: `SELECT ${random.pick(['*', 'COUNT() AS n', 'a.b', '', '[[x]]', 'TOP 3 *'])} FROM ${random.pick(['devices', 'devices.modules', 'devices.jobs', 'x'])} ${random.oneIn(2) ? `WHERE ${condition}` : ''}`,
    },
    {
      id,
      targetCondition: condition,
      priority: random.pick([0, 1, -1, 1e99]),
      content: { modulesContent: { $edgeAgent: json(random, 8) } },
    },
    { tags: json(random, 6), properties: { desired: json(random, 6) } },
    [{ op: random.pick(['add', 'remove', 'x']), path: `/${random.pick(awkward)}/a`, value: json(random, 8) }],
    [{ id, importMode: random.pick(['create', 'update', 'delete', 'x', 'updateTwin']), tags: { a: 'x' } }],
  ] as const;
  const text = JSON.stringify(random.pick<unknown>(bodies));
  return random.oneIn(5) ? mutate(random, Buffer.from(text)).toString('utf8') : text;
}

/** Damages bytes: one is changed, the end is cut off, some are put in, or a part comes twice. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length);
  switch (random.below(4)) {
    case 0: {
      const changed = Buffer.from(bytes);
      changed[at] = random.below(256);
      return changed;
    }
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at)]);
    default:
      return Buffer.concat([bytes, bytes.subarray(at)]);
  }
}
