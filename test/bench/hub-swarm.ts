import { type Packet, generate, parser as createParser } from 'mqtt-packet';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

// Clients, in a process of their own: each connects over TLS, subscribes, and says when it got a desired patch.

/** A client as it presents itself. */
export interface SwarmClient {
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
}

/** What the swarm is told to do. */
export interface SwarmOrder {
  readonly port: number;
  readonly caFile: string;
  readonly clients: readonly SwarmClient[];
}

/** How many connects are under way at once. */
const concurrency = 64;
let patches = 0;
let answers = 0;
const sockets: tls.TLSSocket[] = [];

process.on('message', (order: SwarmOrder | 'patches' | 'report' | 'answers') => {
  if (order === 'patches') process.send?.({ patches });
  else if (order === 'answers') process.send?.({ answers });
  else if (order === 'report') reportAll();
  else void connectAll(order);
});
process.on('disconnect', () => process.exit(0));

async function connectAll({ port, caFile, clients }: SwarmOrder): Promise<void> {
  const secureContext = tls.createSecureContext({ ca: readFileSync(caFile) });
  const waiting = [...clients];
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
        await connectOne(client, { port, secureContext });
      }
    }),
  );
  process.send?.({ connected: clients.length, ms: performance.now() - begin });
}

/** Reports one property of every client. */
function reportAll(): void {
  const payload = JSON.stringify({ lastDesiredVersion: 2, lastDesiredStatus: { code: 200, description: '' } });
  const topic = '$iothub/twin/PATCH/properties/reported/?$rid=1';
  const packet = generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false });
  for (const socket of sockets) socket.write(packet);
}

async function connectOne(
  client: SwarmClient,
  to: { readonly port: number; readonly secureContext: tls.SecureContext },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = tls.connect({ host: '127.0.0.1', servername: 'localhost', ...to });
  const parser = createParser();
  parser.on('packet', (packet: Packet) => {
    if (packet.cmd === 'connack') {
      if (packet.returnCode !== 0) reject(new Error(`CONNACK ${packet.returnCode}`));
      const topics = ['$iothub/twin/PATCH/properties/desired/#', '$iothub/twin/res/#'];
      const subscriptions = topics.map((topic) => ({ topic, qos: 0 as const }));
      socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }));
    } else if (packet.cmd === 'suback') resolve();
    else if (packet.cmd === 'publish') {
      if (packet.topic.startsWith('$iothub/twin/res/204/')) answers += 1;
      else patches += 1;
    }
  });
  socket.on('data', (chunk: Buffer) => parser.parse(chunk));
  sockets.push(socket);
  socket.on('error', reject);
  socket.once('secureConnect', () => {
    const { clientId, username, password } = client;
    socket.write(
      generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clientId,
        clean: true,
        keepalive: 1000,
        username,
        password: Buffer.from(password),
      }),
    );
  });
  await promise;
}
