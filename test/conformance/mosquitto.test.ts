import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { SharedAccessSignature } from 'azure-iot-common';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

const isHere = (() => {
  try {
    execFileSync('mosquitto_pub', ['--version'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    // It ends with 1 where it is there, and does not start where it is not.
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT');
  }
})();

test.skipIf(!isHere)('mosquitto_pub sends telemetry with raw property names', async () => {
  await using rig = await openHubRig();
  const args = await argumentsOf(rig, 'device-1');
  const topic = 'devices/device-1/messages/events/$.ct=application%2Fjson&$.ce=utf-8&site=a';
  await promisify(execFile)('mosquitto_pub', [...args, '-q', '1', '-t', topic, '-m', '{"a":1}']);
  const [event] = rig.hub.readEvents();
  expect(event?.message).toMatchObject({
    system: { contentType: 'application/json', contentEncoding: 'utf-8' },
    properties: { site: 'a' },
  });
});

test.skipIf(!isHere)('mosquitto_sub receives a cloud-to-device message', async () => {
  await using rig = await openHubRig();
  const args = await argumentsOf(rig, 'device-1');
  const child = spawn('mosquitto_sub', [
    ...args,
    '-q',
    '1',
    '-C',
    '1',
    '-v',
    '-t',
    'devices/device-1/messages/devicebound/#',
  ]);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'close');
  await until(() => rig.hub.connectCount('device-1') === 1);
  rig.hub.sendCommand('device-1', { system: { messageId: 'm1' }, properties: { p1: 'v 1' }, body: Buffer.from('go') });
  await ended;
  expect(output.trim()).toBe(
    'devices/device-1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fdevice-1%2Fmessages%2Fdevicebound&p1=v%201 go',
  );
});

test.skipIf(!isHere)('a will is sent as telemetry when the client goes without a word', async () => {
  await using rig = await openHubRig();
  const args = await argumentsOf(rig, 'device-1');
  const will = ['--will-topic', 'devices/device-1/messages/events/', '--will-payload', 'gone', '--will-qos', '1'];
  const child = spawn('mosquitto_sub', [...args, ...will, '-t', '$iothub/methods/POST/#']);
  await until(() => rig.hub.connectCount('device-1') === 1);
  child.kill('SIGKILL');
  await until(() => rig.hub.readEvents().length === 1);
  expect(rig.hub.readEvents()[0]?.message).toMatchObject({
    properties: { 'iothub-MessageType': 'Will' },
    body: Buffer.from('gone'),
  });
});

test.skipIf(!isHere)(
  'quality of service 2, a topic that is not documented, and a subscription to all are refused',
  async () => {
    await using rig = await openHubRig();
    const args = await argumentsOf(rig, 'device-1');
    const publish = async (...more: readonly string[]) =>
      await promisify(execFile)('mosquitto_pub', [...args, '-m', 'x', ...more], { timeout: 5000 });
    await expect(publish('-q', '2', '-t', 'devices/device-1/messages/events/')).rejects.toBeDefined();
    await expect(publish('-q', '1', '-t', 'devices/other/messages/events/')).rejects.toBeDefined();
    const subscribed = await promisify(execFile)('mosquitto_sub', [...args, '-W', '2', '-t', '#']).catch(
      (error: { readonly stderr: string }) => error,
    );
    expect(subscribed.stderr).toMatch(/denied|rejected/i);
    expect(rig.hub.readEvents()).toEqual([]);
  },
);

/** Registers a device, and gives what makes mosquitto's clients connect as it. */
async function argumentsOf(rig: HubRig, deviceId: string): Promise<readonly string[]> {
  await rig.registry.create({ deviceId });
  const key = /SharedAccessKey=(.+)$/.exec(rig.hub.deviceConnectionString(deviceId))?.[1] ?? '';
  const resource = encodeURIComponent(`localhost/devices/${deviceId}`);
  const expiry = Math.ceil(Date.now() / 1000) + 3600;
  const token = SharedAccessSignature.create(resource, undefined as never, key, expiry).toString();
  const user = `localhost/${deviceId}/?api-version=2021-04-12`;
  return [
    '-h',
    'localhost',
    '-p',
    String(rig.hub.port),
    '--cafile',
    rig.certificates.caFile,
    '-V',
    'mqttv311',
    '-i',
    deviceId,
    '-u',
    user,
    '-P',
    token,
  ];
}
