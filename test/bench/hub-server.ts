import { Aedes } from 'aedes';
import tls from 'node:tls';
import { openCertificates } from '../../simulators/certificates.ts';
import { startHub } from '../../simulators/hub/hub.ts';

// What is measured, in a process of its own: the hub simulator, or a bare broker over the same TLS.

const [kind = 'hub', folder = ''] = process.argv.slice(2);
const certificates = await openCertificates(folder);

if (kind === 'hub') {
  const hub = await startHub({ certificates });
  process.send?.({ port: hub.port, connectionString: hub.connectionStrings.iothubowner });
} else {
  const broker = await Aedes.createBroker();
  const options = {
    cert: certificates.certPem,
    key: certificates.keyPem,
    minVersion: 'TLSv1.2',
    requestCert: true,
    rejectUnauthorized: false,
  } as const;
  const server = tls.createServer(options, (socket) => {
    // 'error' of a client that goes is nothing to a broker that is measured.
    socket.on('error', () => undefined);
    broker.handle(socket);
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
  });
}
process.on('message', () => process.send?.({ rssBytes: process.memoryUsage.rss() }));
process.on('disconnect', () => process.exit(0));
