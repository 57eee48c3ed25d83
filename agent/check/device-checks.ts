import { once } from 'node:events';
import { access, constants, mkdir, statfs } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import tls from 'node:tls';
import { systemClock } from '../../shared/clock.ts';
import type { DeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { parseReference } from '../../shared/oci/reference.ts';
import { RegistryClient } from '../../shared/oci/registry-client.ts';
import { isProxied, proxiedAgent } from '../../shared/proxy.ts';
import { bytesText } from '../../shared/text-layout.ts';
import type { DesiredState } from '../desired-state.ts';
import { measureClockSkew } from '../hub/clock-skew.ts';
import type { DeviceCertificate } from '../hub/device-identity.ts';
import { HubFileUpload } from '../hub/file-upload.ts';
import { credentialFor } from '../images/credential-for.ts';
import type { Check } from './check.ts';

/** What the checks are about. */
export interface CheckedDevice {
  readonly device: DeviceConnectionString;
  /** What it signs in with where it has no key. */
  readonly certificate?: DeviceCertificate;
  readonly stateFolder: string;
  /** What is in force on the device, if anything is. */
  readonly desired: DesiredState | undefined;
}

/** Port of MQTT over TLS. */
const mqttPort = 8883;
/** Free space that is too little, and that is little, in bytes: an image of the usual base and engine has 200 MB, and is unpacked once. */
const freeBytesMin = 512 * 1024 * 1024;
const freeBytesGood = 2 * 1024 * 1024 * 1024;
/** How far the clock may be off before it is worth a word, and before the hub takes no token any more, in milliseconds. */
const skewGoodMs = 30_000;
const skewMaxMs = 5 * 60_000;

/** Gives what has to be right for the agent to do its work on this device. Nothing of it disturbs an agent that runs. */
export function deviceChecks(checked: CheckedDevice): readonly Check[] {
  const { device, certificate, stateFolder, desired } = checked;
  const hubAddress = device.gatewayHostName ?? device.hostName;
  return [
    {
      name: 'folder',
      next: 'Run the agent as a user who may write there, or give --state another folder.',
      run: async () => {
        await mkdir(stateFolder, { recursive: true });
        await access(stateFolder, constants.W_OK | constants.X_OK);
        return { outcome: 'ok', found: `"${stateFolder}" can be written to` };
      },
    },
    { name: 'disk', next: 'Give --state a folder that there is.', run: () => checkDisk(stateFolder) },
    { name: 'engine', next: 'Start Docker, or run the agent with --engine process.', run: checkEngine },
    {
      name: 'hub',
      next: isProxied(hostOf(hubAddress))
        ? 'Check the address of the proxy, name and password in it, and that it lets port 443 of the hub through.'
        : "Check the name in the connection string, the device's DNS, and that a firewall lets port 8883 out.",
      run: (signal) => checkTls(hubAddress, { port: mqttPort, signal }),
    },
    {
      name: 'clock',
      next: 'Check that a firewall lets port 443 out to the hub.',
      run: (signal) => checkClock(hubAddress, signal),
    },
    {
      name: 'identity and storage',
      next: 'Check the key in the connection string or the certificate, and that the hub has a storage account for file upload.',
      run: (signal) => checkUpload(device, certificate, signal),
    },
    ...registryChecks(desired),
  ];
}

async function checkDisk(folder: string): ReturnType<Check['run']> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const found = `${bytesText(free)} are free in "${folder}"`;
  if (free >= freeBytesGood) return { outcome: 'ok', found };
  const next = `Free some space: ${bytesText(freeBytesGood)} are good to have, ${bytesText(freeBytesMin)} are the least.`;
  return { outcome: free < freeBytesMin ? 'error' : 'warning', found, next };
}

/** Asks Docker itself: an engine of the agent's own may not be opened twice. */
async function checkEngine(): ReturnType<Check['run']> {
  const { default: Docker } = await import('dockerode');
  try {
    const { Version: version } = await new Docker().version();
    return { outcome: 'ok', found: `Docker ${version} runs the modules` };
  } catch {
    return { outcome: 'ok', found: 'no Docker engine answers: modules run as processes' };
  }
}

async function checkTls(
  address: string,
  { port, signal }: { port: number; signal: AbortSignal },
): ReturnType<Check['run']> {
  const { hostname, port: given } = new URL(`tls://${address}`);
  if (isProxied(hostname)) return checkThroughProxy(address, signal);
  const to = { host: hostname, port: Number(given || port), servername: hostname };
  const socket = tls.connect(to);
  try {
    await once(socket, 'secureConnect', { signal });
  } finally {
    socket.destroy();
  }
  return { outcome: 'ok', found: `${to.host}:${to.port} answers, and its certificate holds` };
}

/** Behind a proxy all goes to the port of HTTPS; that there is an answer says that name, proxy and certificate are right. */
async function checkThroughProxy(address: string, signal: AbortSignal): ReturnType<Check['run']> {
  const { request } = process.getBuiltinModule('node:https');
  const asking = request(`https://${address}/`, { method: 'HEAD', agent: proxiedAgent(), signal });
  asking.end();
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  answer.resume();
  return { outcome: 'ok', found: `${address} answers through the proxy, and its certificate holds` };
}

function hostOf(address: string): string {
  return new URL(`tls://${address}`).hostname;
}

async function checkClock(address: string, signal: AbortSignal): ReturnType<Check['run']> {
  const skewMs = await measureClockSkew(address, signal);
  if (skewMs === undefined) throw new Error(`${address} does not say what time it is`);
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const found = `this machine is ${seconds} s ${skewMs < 0 ? 'behind' : 'ahead of'} the hub`;
  if (Math.abs(skewMs) <= skewGoodMs) return { outcome: 'ok', found };
  const next = 'Set the clock, or let systemd-timesyncd or chrony do it. The agent makes up for it as long as it runs.';
  return { outcome: Math.abs(skewMs) > skewMaxMs ? 'error' : 'warning', found, next };
}

async function checkUpload(
  device: DeviceConnectionString,
  certificate: DeviceCertificate | undefined,
  signal: AbortSignal,
): ReturnType<Check['run']> {
  const storage = await new HubFileUpload(device, certificate).probe(signal);
  await checkTls(storage, { port: 443, signal });
  return { outcome: 'ok', found: `the hub knows the device, and sends what it collects to ${storage}` };
}

/** One check a registry that the deployment in force pulls from. */
function registryChecks(desired: DesiredState | undefined): readonly Check[] {
  if (desired === undefined) return [];
  const images = Map.groupBy(desired.modules, ({ image }) => parseReference(image).host);
  return [...images].map(([host, modules]) => ({
    name: `registry ${host}`,
    next: 'Check that the device reaches it, and the credentials in the deployment.',
    run: async (signal) => {
      for (const { image } of modules) {
        const { repository, tag, digest } = parseReference(image);
        const credential = credentialFor(image, desired.manifest.runtime.settings.registryCredentials ?? {});
        const registry = new RegistryClient(host, { credentials: async () => credential, clock: systemClock });
        const found = await registry.headManifest(repository, digest ?? tag ?? '', { signal });
        if (found === undefined) return { outcome: 'error', found: `it has no "${image}"`, next: 'Push the image.' };
      }
      return { outcome: 'ok', found: `it has the images of ${modules.map(({ name }) => name).join(', ')}` };
    },
  }));
}
