import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { makeAuthority, makeDeviceCertificate } from '../../simulators/certificate-maker.ts';
import type { CertificatePair } from '../../simulators/certificates.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

const validity = { nowMs: Date.now(), days: 30 };

test('a device with a self-signed certificate is known by its thumbprint, SHA-1 or SHA-256', async () => {
  await using rig = await openHubRig();
  const authority = await makeAuthority(validity);
  const pair = await makeDeviceCertificate({ authority, deviceId: 'x-1', ...validity });
  const { fingerprint, fingerprint256 } = new X509Certificate(pair.certPem);
  for (const [deviceId, primaryThumbprint] of [
    ['x-1', fingerprint],
    ['x-2', fingerprint256.replaceAll(':', '')],
  ] as const) {
    const x509Thumbprint = { primaryThumbprint, secondaryThumbprint: primaryThumbprint };
    await rig.registry.create({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint } });
    await expect(sendAs(rig, deviceId, pair)).resolves.toBeUndefined();
  }
  const other = await makeDeviceCertificate({ authority, deviceId: 'x-1', ...validity });
  await expect(sendAs(rig, 'x-1', other)).rejects.toMatchObject({ name: 'UnauthorizedError' });
  expect(rig.hub.readEvents().map(({ sender }) => sender.authMethod.type)).toEqual(['x509', 'x509']);
});

test('a device of a certificate authority is known by its name and its issuer', async () => {
  const authority = await makeAuthority(validity);
  await using rig = await openHubRig({ deviceCaPem: authority.certPem });
  for (const deviceId of ['x-1', 'x-2'])
    await rig.registry.create({ deviceId, authentication: { type: 'certificateAuthority' } });
  const pair = await makeDeviceCertificate({ authority, deviceId: 'x-1', ...validity });
  await expect(sendAs(rig, 'x-1', pair)).resolves.toBeUndefined();
  await expect(sendAs(rig, 'x-2', pair)).rejects.toMatchObject({ name: 'UnauthorizedError' });
  const stranger = await makeDeviceCertificate({
    authority: await makeAuthority(validity),
    deviceId: 'x-1',
    ...validity,
  });
  await expect(sendAs(rig, 'x-1', stranger)).rejects.toMatchObject({ name: 'UnauthorizedError' });
  const old = await makeDeviceCertificate({
    authority,
    deviceId: 'x-1',
    nowMs: Date.now() - 100 * 86_400_000,
    days: 30,
  });
  await expect(sendAs(rig, 'x-1', old)).rejects.toMatchObject({ name: 'UnauthorizedError' });
});

async function sendAs(rig: HubRig, deviceId: string, pair: CertificatePair): Promise<void> {
  const client = DeviceClient.fromConnectionString(`HostName=${rig.hub.hostName};DeviceId=${deviceId};x509=true`, Mqtt);
  await client.setOptions({ cert: pair.certPem, key: pair.keyPem });
  await client.open();
  await client.sendEvent(new Message('x'));
  await client.close();
}
