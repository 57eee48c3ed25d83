import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WebSocketServer, createWebSocketStream } from 'ws';
import type { AmqpGateway } from './amqp/gateway.ts';
import type { MqttGateway } from './mqtt/gateway.ts';

/** The one path that speaks WebSocket. @see https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub */
const path = '/$iothub/websocket';
/** Largest WebSocket message, in bytes: a whole MQTT packet, or an AMQP frame, fits. */
const messageBytesMax = 512 * 1024;

/** The protocols that go over WebSocket, by the name of their sub-protocol. */
const subProtocols = ['mqtt', 'AMQPWSB10'] as const;

/** Serves MQTT and AMQP over WebSocket on an HTTP server. */
export function serveWebSocket(options: {
  readonly server: Server;
  readonly mqtt: MqttGateway;
  readonly amqp: AmqpGateway;
}): void {
  const { server, mqtt, amqp } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: messageBytesMax,
    perMessageDeflate: false,
    handleProtocols: (offered) => subProtocols.find((name) => offered.has(name)) ?? false,
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    const isKnown = subProtocols.some((name) => offered.includes(name));
    if (request.url?.split('?')[0]?.toLowerCase() !== path || !isKnown) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      const stream = createWebSocketStream(client);
      stream.on('error', () => stream.destroy());
      if (client.protocol === 'mqtt') {
        mqtt.accept(stream, socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.raw : undefined);
      } else amqp.accept(stream);
    });
  });
}
