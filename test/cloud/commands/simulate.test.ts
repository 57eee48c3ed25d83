import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { type EdgeRig, openEdgeRig } from '../edge-rig.ts';

test('ferry simulate faults set, show and clear switch each fault of the hub while it runs', async () => {
  await using rig = await openEdgeRig();
  const faults = async (...args: string[]) => await ferry(rig, ['faults', ...args, '--json']);
  const off = {
    refuseConnections: false,
    delayMs: 0,
    losePubacks: 0,
    throttleRequests: 0,
    failRequests: 0,
    clockSkewMs: 0,
    outageMs: 0,
  };
  expect(JSON.parse((await faults('show')).stdout)).toEqual({ hub: rig.hub.hostName, ...off });
  await faults('set', '--refuse-connections', 'on', '--delay', '0.25', '--lose-pubacks', '3');
  await faults('set', '--throttle', '1', '--fail', '2', '--clock-skew', '-90', '--outage', '600');
  expect(rig.hub.faults.settings).toMatchObject({
    refuseConnections: true,
    delayMs: 250,
    losePubacks: 3,
    throttleRequests: 1,
    failRequests: 2,
    clockSkewMs: -90_000,
  });
  expect(rig.hub.faults.settings.outageMs).toBeGreaterThan(500_000);
  expect(JSON.parse((await faults('show')).stdout)).toMatchObject({ losePubacks: 3, failRequests: 2 });
  expect(JSON.parse((await faults('clear')).stdout)).toEqual({ hub: rig.hub.hostName, ...off });
  expect(rig.hub.faults.settings).toEqual(off);
});

test('ferry simulate faults set does to the next command what it says, and clears even when clocks are hours apart', async () => {
  await using rig = await openEdgeRig();
  const list = async () => await runFerry(['edge', 'device', 'list'], { cwd: rig.folder });
  await ferry(rig, ['faults', 'set', '--fail', '1']);
  expect(await list()).toMatchObject({ code: 1, stderr: expect.stringContaining('500 ServerError') });
  expect(await list()).toMatchObject({ code: 0 });
  await ferry(rig, ['faults', 'set', '--clock-skew', '90000']);
  expect(await list()).toMatchObject({ code: 1, stderr: expect.stringContaining('HUB_UNAUTHORIZED') });
  expect(await ferry(rig, ['faults', 'clear'])).toMatchObject({ code: 0 });
  expect(await list()).toMatchObject({ code: 0 });
});

test('ferry simulate device drop cuts a device, and expire ends what its token is good for', async () => {
  await using rig = await openEdgeRig();
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('elsewhere'), Mqtt);
  await client.open();
  await client.sendEvent(new Message('first'));
  expect(await ferry(rig, ['device', 'drop', 'elsewhere'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('elsewhere'),
  });
  await until(() => !rig.hub.isConnected('elsewhere'));
  await client.sendEvent(new Message('second'));
  expect(rig.hub.connectCount('elsewhere')).toBe(2);
  expect(await ferry(rig, ['device', 'expire', 'elsewhere'])).toMatchObject({ code: 0 });
  await until(() => !rig.hub.isConnected('elsewhere'));
  await client.close();
});

test('ferry simulate says what is wrong with its arguments, and with the hub', async () => {
  await using rig = await openEdgeRig();
  const failing = async (...args: string[]) => (await ferry(rig, args)).stderr;
  expect(await failing('faults', 'set')).toMatch(/^error USAGE: Cannot set the faults: no fault is named/);
  expect(await failing('faults', 'set', '--delay', '-1')).toContain('It is "-1", seconds from 0 were wanted.');
  expect(await failing('faults', 'set', '--fail', 'many')).toContain('a whole number from 0 was wanted');
  expect(await failing('faults', 'set', '--refuse-connections', 'maybe')).toContain('on or off was wanted');
  expect(await failing('faults', 'set', '--delay', '601')).toMatch(
    /^error HUB_REFUSED: Cannot set the faults: .*delayMs/,
  );
  expect(await failing('device', 'drop', 'nobody')).toMatch(/^error DEVICE_NOT_FOUND: Cannot drop the device "nobody"/);
  await using folder = await temporaryFolder();
  await runFerry(['workspace', 'init'], { cwd: folder.path });
  const { stderr } = await runFerry(['simulate', 'faults', 'show'], { cwd: folder.path });
  expect(stderr).toMatch(/^error ENDPOINT_MISSING: Cannot reach the simulator.*\nnext: Start .*ferry up --only hub/);
});

async function ferry(rig: EdgeRig, args: readonly string[]) {
  return await runFerry(['simulate', ...args], { cwd: rig.folder });
}
