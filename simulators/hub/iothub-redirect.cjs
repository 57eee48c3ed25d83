'use strict';

// Leads a program that was written for Azure to the simulator, without a change to it:
//
//   IOTHUB_SIMULATOR=myhub.azure-devices.net=127.0.0.1:8443 NODE_EXTRA_CA_CERTS=ca.pem \
//     NODE_OPTIONS=--require=/path/to/iothub-redirect.cjs node app.js
//
// Several hubs are separated by commas. Everything that goes to such a host on 443 (REST, WebSocket), 8883 (MQTT) or 5671 (AMQP)
// goes to the simulator's one port; the name in the TLS handshake stays the hub's. It stands alone, and runs on any Node.

const net = require('node:net');

const hubPorts = [443, 8883, 5671];

const simulators = new Map(
  (process.env.IOTHUB_SIMULATOR ?? '')
    .split(',')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const match = /^([^=]+)=(.+):(\d+)$/.exec(entry.trim());
      if (match === null) throw new Error(`IOTHUB_SIMULATOR holds "${entry}", name=host:port was wanted`);
      return [match[1].toLowerCase(), { host: match[2], port: Number(match[3]) }];
    }),
);

const { connect } = net.Socket.prototype;

net.Socket.prototype.connect = function connectToSimulator(...args) {
  // Node passes on what net.connect() made of its arguments: [options, callback].
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  const simulator = typeof options?.host === 'string' ? simulators.get(options.host.toLowerCase()) : undefined;
  if (simulator !== undefined && hubPorts.includes(Number(options.port))) {
    options.servername ??= options.host;
    options.host = simulator.host;
    options.port = simulator.port;
    delete options.lookup;
  }
  return connect.apply(this, args);
};
