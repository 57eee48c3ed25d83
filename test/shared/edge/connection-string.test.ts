import { expect, test } from 'vitest';
import {
  formatDeviceConnectionString,
  parseDeviceConnectionString,
  parseServiceConnectionString,
} from '../../../shared/edge/connection-string.ts';

test('parseDeviceConnectionString() reads every field, whatever their order, case and surrounding space', () => {
  const parts = parseDeviceConnectionString(
    ' sharedaccesskey=c2VjcmV0PQ==;DeviceId=gate 1;HostName=localhost:8443;ModuleId=$edgeAgent;GatewayHostName=gw\n',
  );
  expect(parts).toEqual({
    hostName: 'localhost:8443',
    deviceId: 'gate 1',
    moduleId: '$edgeAgent',
    sharedAccessKey: 'c2VjcmV0PQ==',
    gatewayHostName: 'gw',
  });
});

test('parseDeviceConnectionString() names all that is wrong at once and never the key', () => {
  const secret = 'not-base64-but-secret';
  expect(() => parseDeviceConnectionString(`HostName=h;junk;SharedAccessKey=${secret}`)).toThrow(
    expect.objectContaining({
      code: 'CONNECTION_STRING_INVALID',
      message: expect.stringMatching(/part 2 is not.*"DeviceId" is missing.*"SharedAccessKey" is not base64/),
    }),
  );
  expect(() => parseDeviceConnectionString(`HostName=h;junk;SharedAccessKey=${secret}`)).not.toThrow(secret);
});

test('parseDeviceConnectionString() refuses a field that is given twice', () => {
  expect(() => parseDeviceConnectionString('HostName=h;DeviceId=a;DeviceId=b;SharedAccessKey=YQ==')).toThrow(
    '"DeviceId" is given twice',
  );
});

test('formatDeviceConnectionString() writes what parseDeviceConnectionString() reads', () => {
  const text = 'HostName=h;DeviceId=d;ModuleId=$edgeAgent;SharedAccessKey=YQ==';
  expect(formatDeviceConnectionString(parseDeviceConnectionString(text))).toBe(text);
});

test('parseServiceConnectionString() reads a policy of the hub', () => {
  expect(parseServiceConnectionString('HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=YQ==')).toEqual({
    hostName: 'h',
    sharedAccessKeyName: 'iothubowner',
    sharedAccessKey: 'YQ==',
  });
});

test('parseServiceConnectionString() refuses the string of a device', () => {
  expect(() => parseServiceConnectionString('HostName=h;DeviceId=d;SharedAccessKey=YQ==')).toThrow(
    '"SharedAccessKeyName" is missing',
  );
});
