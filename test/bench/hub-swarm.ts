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

process.on('message', (order: SwarmOrder | 'patches') => {
  if (order === 'patches') process.send?.({ patches });
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
      const subscriptions = [{ topic: '$iothub/twin/PATCH/properties/desired/#', qos: 0 as const }];
      socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }));
    } else if (packet.cmd === 'suback') resolve();
    else if (packet.cmd === 'publish') patches += 1;
  });
  socket.on('data', (chunk: Buffer) => parser.parse(chunk));
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
