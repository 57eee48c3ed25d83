import https from 'node:https';
import tls from 'node:tls';
import { type Packet, generate, parser as createParser } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { createLogger } from '../../../shared/log.ts';
import { type HubRig, openHubRig } from '../../conformance/hub-rig.ts';
import { Random } from '../../random.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { mqttInput, restInput } from './fuzz-inputs.ts';

/** Inputs of each protocol; together they are what is promised. */
const inputs = { mqtt: 60_000, rest: 40_000 } as const;
const packetsPerConnection = 60;
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_122);

test(
  `100,000 inputs of seed ${seed} over MQTT and REST leave the hub serving and its state intact`,
  { timeout: 600_000 },
  async () => {
    await using folder = await temporaryFolder();
    const errors: string[] = [];
    const log = createLogger('hub', {
      level: 'warn',
      format: 'json',
      destination: { write: (line) => void errors.push(line) },
    });
    await using rig = await openHubRig({ folder: folder.path, log });
    await rig.registry.create({ deviceId: 'kept', capabilities: { iotEdge: true } });
    await rig.registry.updateTwin('kept', { tags: { site: 'a' }, properties: { desired: { interval: 5 } } }, '*');
    await rig.registry.create({ deviceId: 'fuzz' });
    const before = (await rig.registry.getTwin('kept')).responseBody;
    const random = new Random(seed);
    const answered = new Map<number, number>();
    const [taken] = await Promise.all([fuzzMqtt(rig, random), fuzzRest(rig, { random, answered })]);
    const answers = [...answered.values()].reduce((sum, count) => sum + count, 0);
    expect(taken + answers).toBeGreaterThanOrEqual(100_000);
    expect(errors.filter((line) => !line.includes('cannot be applied'))).toEqual([]);
    const { deviceEtag: _etag, ...after } = (await rig.registry.getTwin('kept')).responseBody as typeof before & {
      deviceEtag: string;
    };
    expect(before).toMatchObject(after);
    // What was sent got somewhere: through CONNECT, into the endpoint, past the token.
    expect(rig.hub.connectCount('fuzz')).toBeGreaterThan(1000);
    expect(rig.hub.readEvents().length).toBeGreaterThan(5000);
    expect(answered.get(200)).toBeGreaterThan(1000);
    const client = await rig.device('after');
    expect((await client.getTwin()).properties.desired).toMatchObject({ $version: 1 });
  },
);

/** Gives how many inputs the hub has taken in. */
async function fuzzMqtt(rig: HubRig, random: Random): Promise<number> {
  const { SharedAccessSignature } = await import('azure-iot-common');
  const key = /SharedAccessKey=(.+)$/.exec(rig.hub.deviceConnectionString('fuzz'))?.[1] ?? '';
  const resource = encodeURIComponent(`${rig.hub.hostName}/devices/fuzz`);
  const password = SharedAccessSignature.create(
    resource,
    undefined as never,
    key,
    Math.ceil(Date.now() / 1000) + 3600,
  ).toString();
  const connect = generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'fuzz',
    clean: true,
    keepalive: 60,
    username: `${rig.hub.hostName}/fuzz/?api-version=2021-04-12`,
    password: Buffer.from(password),
  });
  const ping = generate({ cmd: 'pingreq' });
  let session: Buffer | undefined;
  let taken = 0;
  while (taken < inputs.mqtt) {
    const socket = tls.connect({ host: '127.0.0.1', port: rig.hub.port, servername: 'localhost', session });
    socket.on('session', (ticket: Buffer) => (session = ticket));
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    // A ping after each input: its answer says that the hub has taken that input in, and goes on. The one that ends the
    // connection counts too; those after it do not.
    let answered = 0;
    const parser = createParser();
    // What does not begin as MQTT does is answered in HTTP.
    parser.on('error', () => undefined);
    parser.on('packet', ({ cmd }: Packet) => void (answered += cmd === 'pingresp' ? 1 : 0));
    socket.on('data', (chunk: Buffer) => parser.parse(chunk));
    const packets: Buffer[] = Array.from({ length: packetsPerConnection }, () =>
      Buffer.concat([mqttInput(random), ping]),
    );
    if (!random.oneIn(50)) packets.unshift(connect);
    // Cut anywhere: packets come in pieces, as they do.
    const all = Buffer.concat(packets);
    const at = random.below(all.length);
    socket.write(all.subarray(0, at));
    socket.end(all.subarray(at));
    await closed;
    taken += Math.min(packetsPerConnection, answered + 1);
  }
  return taken;
}

async function fuzzRest(
  rig: HubRig,
  { random, answered }: { readonly random: Random; readonly answered: Map<number, number> },
): Promise<void> {
  const agent = new https.Agent({
    keepAlive: true,
    maxSockets: 4,
    host: '127.0.0.1',
    port: rig.hub.port,
    servername: 'localhost',
  });
  const authorization = rig.sign('iothubowner');
  let sent = 0;
  const worker = async (): Promise<void> => {
    while (sent < inputs.rest) {
      sent += 1;
      const input = restInput(random);
      const status = await new Promise<number>((resolve, reject) => {
        const headers = { authorization, ...input.headers, 'content-length': Buffer.byteLength(input.body) };
        const request = https.request({ agent, method: input.method, path: input.path, headers }, (response) => {
          response.resume();
          response.once('end', () => resolve(response.statusCode ?? 0));
        });
        request.once('error', (cause) => reject(new Error(`no answer to ${JSON.stringify(input)}`, { cause })));
        request.end(input.body);
      });
      answered.set(status, (answered.get(status) ?? 0) + 1);
      if (status >= 500) throw new Error(`${status} for ${JSON.stringify(input)}`);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  agent.destroy();
}
