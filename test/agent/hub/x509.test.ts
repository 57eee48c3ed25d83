import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import azureDevice from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { makeAuthority, makeDeviceCertificate } from '../../../simulators/certificate-maker.ts';
import { until } from '../../until.ts';
import { AgentProcess } from '../agent-process.ts';
import { deviceId, Rig, waitingScript } from '../rig.ts';

test('a device with an X.509 certificate: the agent gives its module a key and signs in; modules sign in with theirs', async () => {
  await using rig = await Rig.open();
  const { args } = await useCertificate(rig);
  const first = new AgentProcess([...args, '--keep-modules']);
  await using _first = first;
  const script = `printf %s "$EdgeHubConnectionString" > "$MODELFERRY_DATA_DIR/identity"\n${waitingScript}`;
  const version = await rig.deploy({ camera: { image: await rig.putImage(script) } });
  await rig.reported(version, 200, 30_000);
  expect(await rig.callMethod('ping', null)).toMatchObject({ status: 200 });
  const identity = await readFile(join(rig.dataFolder('camera'), 'identity'), 'utf8');
  const { ModuleClient } = azureDevice;
  const client = await until(async () => {
    const module = ModuleClient.fromConnectionString(identity, Mqtt);
    await module.open();
    return module;
  });
  await client.close();
  first.signal('SIGTERM');
  expect(await first.exitCode()).toBe(0);
  // The keys follow from a secret that outlives the agent, so the module's are still good.
  await using _second = new AgentProcess(args);
  await rig.reported(version, 200, 30_000);
  expect(await rig.callMethod('ping', null)).toMatchObject({ status: 200 });
  const again = ModuleClient.fromConnectionString(identity, Mqtt);
  await again.open();
  await again.close();
}, 90_000);

test('a certificate that the hub does not know: the agent ends and says so, without the key', async () => {
  await using rig = await Rig.open();
  const { args } = await useCertificate(rig, { registers: false });
  await using agent = new AgentProcess(args);
  expect(await agent.exitCode()).toBe(1);
  expect(agent.output).toMatch(/error HUB_UNAUTHORIZED: /);
  expect(agent.output).not.toContain('PRIVATE KEY');
});

test('a certificate with the key of another one, or without its key: the agent says what is wrong', async () => {
  await using rig = await Rig.open();
  const { args, keyFile } = await useCertificate(rig);
  const authority = await makeAuthority({ nowMs: Date.now(), days: 2 });
  await writeFile(keyFile, (await makeDeviceCertificate({ authority, deviceId, nowMs: Date.now(), days: 2 })).keyPem);
  await using agent = new AgentProcess(args);
  expect(await agent.exitCode()).toBe(1);
  expect(agent.output).toMatch(/error CONFIG_INVALID: .*is not that of the certificate/);
  await using half = new AgentProcess(args.filter((_, index) => !isOption(args, index, '--certificate-key')));
  expect(await half.exitCode()).toBe(1);
  expect(half.output).toMatch(/error CONFIG_INVALID: .*certificate and certificateKey are wanted together/);
});

/** Makes the rig's device one that signs in with a certificate, and gives the flags of its agent. */
async function useCertificate(
  rig: Rig,
  { registers = true }: { readonly registers?: boolean } = {},
): Promise<{ readonly args: readonly string[]; readonly keyFile: string }> {
  const validity = { nowMs: Date.now(), days: 2 };
  const pair = await makeDeviceCertificate({ authority: await makeAuthority(validity), deviceId, ...validity });
  const [certFile, keyFile] = [join(rig.folder, 'device.pem'), join(rig.folder, 'device.key.pem')];
  await Promise.all([writeFile(certFile, pair.certPem), writeFile(keyFile, pair.keyPem)]);
  const thumbprint = registers ? new X509Certificate(pair.certPem).fingerprint.replaceAll(':', '') : 'A'.repeat(40);
  const x509Thumbprint = { primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint };
  await rig.request('DELETE', `/devices/${deviceId}`);
  await rig.request('PUT', `/devices/${deviceId}`, {
    deviceId,
    capabilities: { iotEdge: true },
    authentication: { type: 'selfSigned', x509Thumbprint },
  });
  const identity = `HostName=localhost:${rig.hub.port};DeviceId=${deviceId};x509=true`;
  const own = ['--connection-string', identity, '--certificate', certFile, '--certificate-key', keyFile];
  const place = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'process', '--log-format', 'text'];
  const args = [...own, ...place];
  return { args, keyFile };
}

function isOption(args: readonly string[], index: number, name: string): boolean {
  return args[index] === name || args[index - 1] === name;
}
