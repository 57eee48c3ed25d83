import { createServer, type Server } from 'node:tls';
import type { Logger } from '../../../shared/log.ts';
import { type TlsFiles, watchCertificates } from './tls-files.ts';

/**
 * Makes a server that speaks TLS, and takes a certificate that was renewed.
 * @throws {FerryError} FILE_UNREADABLE
 */
export function tlsServer(
  files: TlsFiles,
  { handshakeTimeoutMs, log }: { readonly handshakeTimeoutMs: number; readonly log: Logger },
): { readonly server: Server; readonly certificates: Disposable } {
  const certificates = watchCertificates(files, { log, onChange: (renewed) => server.setSecureContext(renewed) });
  const clients = files.clientCaFile !== undefined;
  const server = createServer({
    ...certificates.value,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
    noDelay: true,
    requestCert: clients,
    rejectUnauthorized: clients,
  });
  server.on('tlsClientError', (_, socket) => socket.destroy());
  return { server, certificates };
}
