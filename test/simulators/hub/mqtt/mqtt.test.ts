import * as fc from 'fast-check';
import { generate } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { Framing, FramingError } from '../../../../simulators/hub/mqtt/framing.ts';
import { readBag, writeBag } from '../../../../simulators/hub/mqtt/property-bag.ts';
import { readFilter, readTopic } from '../../../../simulators/hub/mqtt/topics.ts';
import { parseUsername } from '../../../../simulators/hub/mqtt/username.ts';

const device = { deviceId: 'dev1' };
const module = { deviceId: 'dev1', moduleId: 'm1' };

test.each([
  [
    'hub.azure-devices.net/dev1/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node)',
    { deviceId: 'dev1', moduleId: undefined },
    '2021-04-12',
  ],
  [
    'localhost:8443/dev1/$edgeAgent/?api-version=2021-04-12',
    { deviceId: 'dev1', moduleId: '$edgeAgent' },
    '2021-04-12',
  ],
  ['hub/dev1/api-version=2016-11-14&DeviceClientType=x', { deviceId: 'dev1', moduleId: undefined }, '2016-11-14'],
  ['hub/dev1', { deviceId: 'dev1', moduleId: undefined }, undefined],
  ['hub/dev1/?model-id=a%2Fb&api-version=1&api-version=2', { deviceId: 'dev1', moduleId: undefined }, '1'],
])('parseUsername() reads %s', (text, address, apiVersion) => {
  expect(parseUsername(text)).toMatchObject({ address, apiVersion });
});

test.each([
  '',
  'hub',
  'hub/',
  '/dev1',
  'hub/dev1/?api-version=',
  'hub/dev1/?x=1',
  'hub/dev1/m1/x/?api-version=1',
  'hub/dev1//?api-version=1',
])('parseUsername() does not take %j', (text) => {
  expect(parseUsername(text)).toBeUndefined();
});

test.each([
  ['devices/dev1/messages/events', device, { kind: 'telemetry', bag: '' }],
  ['devices/dev1/messages/events/', device, { kind: 'telemetry', bag: '' }],
  ['devices/dev1/messages/events/a=b/', device, { kind: 'telemetry', bag: 'a=b' }],
  ['devices/dev1/modules/m1/messages/events/%24.on=out1/', module, { kind: 'telemetry', bag: '%24.on=out1' }],
  ['$iothub/twin/GET/?$rid=7', device, { kind: 'twin-get', requestId: '7' }],
  [
    '$iothub/twin/PATCH/properties/reported/?$rid=7&$version=3',
    device,
    { kind: 'twin-report', requestId: '7', version: 3 },
  ],
  ['$iothub/methods/res/200/?$rid=a', module, { kind: 'method-response', requestId: 'a', status: 200 }],
] as const)('readTopic() reads %s', (topic, address, publication) => {
  expect(readTopic(topic, address)).toEqual(publication);
});

test.each([
  'devices/dev2/messages/events/',
  'devices/dev1/modules/m1/messages/events/',
  'devices/dev1/messages/eventsx',
  '$iothub/twin/GET/',
  '$iothub/twin/GET/?$rid=',
  '$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x',
  '$iothub/methods/res/ok/?$rid=1',
  'anything',
])('readTopic() does not know %s of device dev1', (topic) => {
  expect(readTopic(topic, device)).toBeUndefined();
});

test('readFilter() allows only what the hub documents, to each its own', () => {
  expect(readFilter('devices/dev1/messages/devicebound/#', device)).toBe('commands');
  expect(readFilter('devices/dev1/messages/devicebound/#', module)).toBeUndefined();
  expect(readFilter('devices/dev1/modules/m1/inputs/#', module)).toBe('inputs');
  expect(readFilter('devices/dev2/messages/devicebound/#', device)).toBeUndefined();
  expect(
    ['#', '$iothub/#', '$iothub/twin/res/+', 'devices/+/messages/devicebound/#'].map((filter) =>
      readFilter(filter, device),
    ),
  ).toEqual(Array(4).fill(undefined));
});

test('readBag() tells a key without a value from an empty one', () => {
  expect(readBag('a&b=&c=d%20e&%24.mid=1&$.ct=x').properties).toEqual({ a: null, b: '', c: 'd e' });
  expect(readBag('%24.mid=1&$.ct=x').system).toEqual({ messageId: '1', contentType: 'x' });
  expect(() => readBag('a=%zz')).toThrow(URIError);
});

test('readBag() reads what writeBag() wrote, whatever it was', () => {
  const text = fc.string({ unit: 'grapheme' });
  const property = fc.property(
    fc.dictionary(
      text.filter((key) => key !== '' && !key.startsWith('$.') && key !== '__proto__'),
      fc.option(text),
    ),
    text,
    (properties, messageId) => {
      const bag = { system: { messageId }, properties };
      expect(readBag(writeBag(bag))).toEqual({ system: bag.system, properties: { ...properties } });
    },
  );
  fc.assert(property, { numRuns: 300 });
});

test('Framing gives the same packets however the bytes are cut', () => {
  const packets = [
    generate({ cmd: 'pingreq' }),
    generate({ cmd: 'publish', topic: 't', payload: Buffer.alloc(300, 1), qos: 0, dup: false, retain: false }),
    generate({ cmd: 'puback', messageId: 3 }),
  ];
  const bytes = Buffer.concat(packets);
  const property = fc.property(fc.array(fc.integer({ min: 0, max: bytes.length })), (cuts) => {
    const places = [0, ...cuts.toSorted((left, right) => left - right), bytes.length];
    const framing = new Framing();
    const got = places
      .slice(1)
      .flatMap((place, index) =>
        [...framing.push(bytes.subarray(places[index], place))].map((frame) => Buffer.from(frame)),
      );
    expect(got).toEqual(packets);
  });
  fc.assert(property, { numRuns: 200 });
});

test('Framing refuses a packet by its announced size, before it is there', () => {
  expect(() => [...new Framing().push(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]))]).toThrow(FramingError);
  expect(() => [...new Framing().push(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]))]).toThrow(FramingError);
});
