import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Hub, type HubOptions } from '../../../agent/hub/hub.ts';
import { hubError } from '../../../agent/hub/hub-error.ts';
import { systemClock } from '../../../shared/clock.ts';
import { parseDeviceConnectionString } from '../../../shared/edge/connection-string.ts';
import { createLogger } from '../../../shared/log.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { makeAuthority, makeServerCertificate } from '../../../simulators/certificate-maker.ts';
import type { Certificates } from '../../../simulators/certificates.ts';
import { startHub } from '../../../simulators/hub/hub.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { deviceId, Rig } from '../rig.ts';

const log = createLogger('test', { level: 'silent' });

interface Link extends AsyncDisposable {
  readonly hub: Hub;
  /** What came, oldest first. */
  readonly desired: Record<string, unknown>[];
  readonly ended: Promise<void>;
}

/** A link to the rig's hub that keeps what comes. */
function openLink(
  rig: Rig,
  { connectionString, ...changes }: Partial<HubOptions> & { readonly connectionString?: string } = {},
): Link {
  const desired: Record<string, unknown>[] = [];
  const hub = new Hub({
    device: parseDeviceConnectionString(connectionString ?? rig.connectionString),
    knownToHub: false,
    onDesired: async (properties) => void desired.push(properties as Record<string, unknown>),
    onMethod: (_, response) => void response.send(200, 'here'),
    clock: systemClock,
    log,
    ...changes,
  });
  const ending = new AbortController();
  const ended = hub.run(ending.signal);
  ended.catch(() => undefined);
  return {
    hub,
    desired,
    ended,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await ended.catch(() => undefined);
    },
  };
}

const reportedOf = async (rig: Rig): Promise<Record<string, unknown>> => ({
  ...(await rig.twin()).properties.reported,
});

test('pain 7, minutes until a device hears of it: Hub hands in what is desired at once and after each change, arrays as the hub has them', async () => {
  await using rig = await Rig.open();
  await rig.setDesired({ list: ['a', 'b', 'c'], gone: 1 });
  await using link = openLink(rig);
  await until(() => link.desired.length > 0);
  expect(link.desired[0]).toMatchObject({ list: ['a', 'b', 'c'], gone: 1 });
  await rig.setDesired({ list: ['x'] });
  await until(() => link.desired.at(-1)?.['gone'] === undefined);
  expect(link.desired.at(-1)).toMatchObject({ list: ['x'] });
});

test('Hub reports what differs from what the hub holds, and takes away what an agent before left', async () => {
  await using rig = await Rig.open();
  {
    await using first = openLink(rig);
    first.hub.report({ old: { a: 1 }, same: 1 });
    await until(async () => (await reportedOf(rig))['same'] === 1);
  }
  await using second = openLink(rig);
  second.hub.report({ same: 1, fresh: 2 });
  await until(async () => (await reportedOf(rig))['fresh'] === 2);
  expect(await reportedOf(rig)).toMatchObject({ same: 1, fresh: 2 });
  expect(await reportedOf(rig)).not.toHaveProperty('old');
});

test('trap 2 of the SDK: Hub reads the twin again after a cut, and methods and changes still come', async () => {
  await using rig = await Rig.open();
  await using link = openLink(rig);
  await until(() => link.desired.length > 0);
  for (const round of [1, 2]) {
    await rig.request('POST', `/_sim/devices/${deviceId}/drop`);
    await rig.setDesired({ round });
    await until(() => link.desired.at(-1)?.['round'] === round);
  }
  await rig.setDesired({ round: 'again' });
  await until(() => link.desired.at(-1)?.['round'] === 'again');
  expect(await until(() => rig.callMethod('anything', {}))).toMatchObject({ status: 200, payload: 'here' });
});

test('Hub gets through an outage of the hub, and reports what came up meanwhile', async () => {
  await using rig = await Rig.open();
  await using link = openLink(rig);
  await until(() => link.desired.length > 0);
  await rig.request('PATCH', '/_sim/faults', { outageMs: 1_000 });
  link.hub.report({ during: 1 });
  await until(async () => (await reportedOf(rig))['during'] === 1, {
    timeoutMs: 15_000,
  });
  expect(await reportedOf(rig)).toMatchObject({ during: 1 });
});

test('Hub reads the twin once after it has connected', async () => {
  await using rig = await Rig.open();
  await rig.setDesired({ wanted: 1 });
  await using link = openLink(rig);
  await until(() => link.desired.length > 0);
  // What the hub has taken after that has come after every answer to a reading before.
  link.hub.report({ seen: 1 });
  await until(async () => (await reportedOf(rig))['seen'] === 1);
  expect(link.desired).toHaveLength(1);
});

test('Hub waits where the hub throttles it, keeps its connection, and loses nothing of what it has to say', async () => {
  await using rig = await Rig.open();
  await using link = openLink(rig);
  await until(() => link.desired.length > 0);
  const key = `${deviceId}/$edgeAgent`;
  const connected = rig.hub.connectCount(key);
  expect(connected).toBe(1);
  rig.hub.faults.change({ throttleRequests: 3 });
  link.hub.report({ step: 1 });
  link.hub.report({ step: 2, other: true });
  // By the test's own eyes: its requests would use up the refusals.
  const agent = () => rig.hub.parts.registry.module(deviceId, '$edgeAgent').twin;
  await until(() => agent().reported.value['step'] === 2, { timeoutMs: 20_000 });
  expect(agent().reported.value).toMatchObject({ other: true });
  expect(rig.hub.faults.settings.throttleRequests).toBe(0);
  expect(rig.hub.connectCount(key)).toBe(connected);
});

test('Hub gives up on a wrong key at first contact, and never again after it was let in once', async () => {
  await using rig = await Rig.open();
  const connectionString = rig.connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${btoa('wrong')}`);
  await using first = openLink(rig, { connectionString });
  await expect(first.ended).rejects.toMatchObject({
    code: 'HUB_UNAUTHORIZED',
    message: expect.stringContaining(`localhost:${rig.hub.port}`),
  });
  await using later = openLink(rig, { connectionString, knownToHub: true });
  const stillTrying = Promise.race([later.ended, systemClock.sleep(1_500).then(() => 'still trying')]);
  await expect(stillTrying).resolves.toBe('still trying');
});

test.each([2 * 3_600_000, -2 * 3_600_000])(
  'pain 14, a wrong clock: Hub is let in by a hub whose clock is %i ms ahead, and knows how far it is off',
  async (clockSkewMs) => {
    await using rig = await Rig.open();
    rig.hub.faults.change({ clockSkewMs });
    await using link = openLink(rig);
    await until(() => link.desired.length > 0, { timeoutMs: 15_000 });
    await until(() => link.hub.connection.clockSkewMs !== undefined);
    expect(link.hub.connection).toMatchObject({ isUp: true, clockSkewMs: expect.closeTo(-clockSkewMs, -4) });
  },
);

test('Hub asks what time it is with the first connection, says so once, and does not ask again at each change', async () => {
  await using rig = await Rig.open();
  const told: (number | undefined)[] = [];
  let asked = 0;
  await using link = openLink(rig, {
    onClockSkew: () => told.push(link.hub.connection.clockSkewMs),
    measureClockSkew: async () => (asked += 1) * 500,
  });
  await until(() => told.length > 0);
  await rig.setDesired({ changed: true });
  await until(() => link.desired.at(-1)?.['changed'] === true);
  expect({ asked, told }).toEqual({ asked: 1, told: [500] });
});

test.each([
  ['Connection refused: Not authorized', 'HUB_UNAUTHORIZED'],
  ['mqtt.js returned Connection refused: Bad username or password error', 'HUB_UNAUTHORIZED'],
  ['mqtt.js returned Connection refused: Identifier rejected error', 'HUB_UNAUTHORIZED'],
  ['connect ECONNREFUSED 127.0.0.1:8883', 'HUB_UNREACHABLE'],
  ['getaddrinfo ENOTFOUND hub.example', 'HUB_UNREACHABLE'],
  ['self-signed certificate in certificate chain', 'HUB_UNREACHABLE'],
  ['mqtt.js returned Connection refused: Server unavailable error', 'HUB_UNREACHABLE'],
])('trap 4 of the SDK: hubError() makes of "Not authorized: %s" a %s', (tail, code) => {
  const thrown = new Error(`Failure on first connection (Not authorized): ${tail}`);
  expect(hubError(thrown, 'hub.example:8883')).toMatchObject({
    code,
    message: expect.stringContaining('hub.example:8883'),
    cause: { message: tail },
  });
});

test('pain 13, a renewed certificate of the hub cuts devices off: Hub connects again, and reports', async () => {
  await using folder = await temporaryFolder();
  const authority = await makeAuthority({ nowMs: Date.now(), days: 10 });
  const caFile = join(folder.path, 'ca.pem');
  await writeFile(caFile, authority.certPem);
  trustAlso(caFile);
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] };
  const renew = async (): Promise<Certificates> => {
    const server = await makeServerCertificate({ authority, names, nowMs: Date.now(), days: 5 });
    const files = { caFile, certFile: join(folder.path, 'cert.pem'), keyFile: join(folder.path, 'key.pem') };
    return { ...files, caPem: authority.certPem, ...server };
  };
  await using rig = await Rig.open({ certificates: await renew(), hubFolder: join(folder.path, 'hub') });
  const [{ port }, { connectionString }] = [rig.hub, rig];
  await using link = openLink(rig, { connectionString });
  await until(() => link.desired.length > 0);
  await rig.hub.close();
  await until(() => !link.hub.connection.isUp);
  await using _renewed = await startHub({ certificates: await renew(), folder: join(folder.path, 'hub'), port });
  link.hub.report({ after: 1 });
  await until(async () => (await reportedOf(rig))['after'] === 1, { timeoutMs: 20_000 });
  expect(link.hub.connection.isUp).toBe(true);
});
