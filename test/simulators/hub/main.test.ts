import { EventHubConsumerClient, earliestEventPosition } from '@azure/event-hubs';
import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { openHubTransport } from '../../../cloud/azure/hub-transport.ts';
import { parseServiceConnectionString } from '../../../shared/edge/connection-string.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';

const program = fileURLToPath(new URL('../../../simulators/hub/main.ts', import.meta.url));

test('the hub starts on its own, prints its endpoints, and ends at SIGTERM', async () => {
  await using folder = await temporaryFolder();
  const child = spawn(
    process.execPath,
    [program, '--folder', folder.path, '--plain-amqp-port', '0', '--evaluate-every', '300'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const printed = await until(() =>
    output.endsWith('}\n') ? (JSON.parse(output) as Record<string, unknown>) : undefined,
  );
  expect(printed).toMatchObject({
    hostName: `localhost:${String(printed['port'])}`,
    eventHubConnectionString: expect.stringContaining('UseDevelopmentEmulator=true'),
  });
  expect(await readFile(String(printed['caFile']), 'utf8')).toContain('BEGIN CERTIFICATE');
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});

test.each([
  [[], '--folder is missing'],
  [['--folder', '/tmp', '--port', 'x'], '--port "x"'],
  [['--folder', '/tmp', '--port', '65536'], 'a whole number from 0 to 65535 was wanted'],
  [['--folder', '/tmp', '--evaluate-every', '0'], '--evaluate-every "0"'],
  [['--folder', '/tmp', '--name', 'no good'], '--name "no good"'],
  [['--nonsense'], '--nonsense'],
])('the hub started with %j says what is wrong, and ends with 2', async (args, text) => {
  const { code, stderr } = await runHub(args);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error USAGE: Cannot /);
  expect(stderr).toContain(text);
});

test('the hub says in one line what is in its way: a file for a folder, a port, an address, a certificate', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'file');
  await writeFile(file, 'no certificate');
  await using blocker = createServer().listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  const { port } = blocker.address() as AddressInfo;
  const state = ['--folder', join(folder.path, 'state')];
  const failing = async (...args: string[]) => {
    const { code, stderr } = await runHub(args);
    return `${String(code)} ${stderr.split('\n')[0] ?? ''}`;
  };
  expect(await failing('--folder', join(file, 'state'))).toMatch(
    /^1 error FILE_UNWRITABLE: Cannot keep the hub's state in .*: ENOTDIR, a folder that may be written to was wanted/,
  );
  expect(await failing(...state, '--port', String(port))).toContain('1 error PORT_IN_USE: Cannot start');
  expect(await failing(...state, '--host', '192.0.2.1')).toContain('1 error PORT_UNUSABLE: Cannot start');
  expect(await failing(...state, '--device-ca', file)).toContain('1 error FILE_UNREADABLE: Cannot use --device-ca');
  expect(await failing(...state, '--device-ca', `${file}-not`)).toContain('1 error FILE_UNREADABLE: Cannot read');
});

test('the hub that is killed has all that it acknowledged when it is started again', async () => {
  await using folder = await temporaryFolder();
  await using first = await startProgram(folder.path);
  trustAlso(first.caFile);
  const { registry } = openHubTransport(parseServiceConnectionString(first.connectionStrings.iothubowner));
  await registry.create({ deviceId: 'device-1', capabilities: { iotEdge: true } });
  const { responseBody } = await registry.updateTwin('device-1', { tags: { site: 'a' } }, '*');
  const key = (await registry.get('device-1')).responseBody.authentication?.symmetricKey?.primaryKey ?? '';
  const deviceOf = ({ hostName }: { readonly hostName: string }) =>
    DeviceClient.fromConnectionString(`HostName=${hostName};DeviceId=device-1;SharedAccessKey=${key}`, Mqtt);
  const device = deviceOf(first);
  await device.open();
  for (let index = 0; index < 20; index += 1) await device.sendEvent(new Message(String(index)));
  await first.kill();
  await device.close().catch(() => undefined);

  await using second = await startProgram(folder.path);
  const again = openHubTransport(parseServiceConnectionString(second.connectionStrings.iothubowner));
  expect((await again.registry.getTwin('device-1')).responseBody).toMatchObject({
    etag: responseBody.etag,
    tags: { site: 'a' },
  });
  const consumer = new EventHubConsumerClient('$Default', second.eventHubConnectionString);
  const texts: string[] = [];
  const reading = consumer.subscribe(
    {
      processEvents: async (events) => void texts.push(...events.map(({ body }) => String(body))),
      processError: async () => undefined,
    },
    { startPosition: earliestEventPosition },
  );
  await until(() => texts.length === 20, { what: 'the events of before' });
  await reading.close();
  await consumer.close();
  expect(texts).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
  const returned = deviceOf(second);
  await returned.open();
  await returned.close();
});

interface StartedHub extends AsyncDisposable {
  readonly hostName: string;
  readonly caFile: string;
  readonly connectionStrings: { readonly iothubowner: string };
  readonly eventHubConnectionString: string;
  kill(): Promise<void>;
}

async function startProgram(folder: string): Promise<StartedHub> {
  const child = spawn(process.execPath, [program, '--folder', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await until(() => output.endsWith('}\n'), { what: 'the start of the hub' });
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return { ...(JSON.parse(output) as Omit<StartedHub, 'kill'>), kill, [Symbol.asyncDispose]: kill };
}

async function runHub(args: readonly string[]): Promise<{ readonly code: number; readonly stderr: string }> {
  const ended = await promisify(execFile)(process.execPath, [program, ...args]).catch((error: unknown) => error);
  return ended as { readonly code: number; readonly stderr: string };
}
