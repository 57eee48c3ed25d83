import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import { type ConnectionInjector, experimental, Server, ServerCredentials } from '@grpc/grpc-js';
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { CertificateFiles } from './certificate-files.ts';
import { GrpcCalls, type GrpcCallsOptions } from './grpc-calls.ts';
import { inferenceDescriptor } from './inference-descriptor.ts';
import type { TlsFiles } from '../http/tls-files.ts';

/** Where to listen. */
export interface GrpcAddress {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** @default without TLS */
  readonly tls: TlsFiles | undefined;
}

/** One connection more is closed at once; each may have so many calls at a time. */
const connectionsMax = 1024;
const callsOfConnectionMax = 256;

/** A client that is gone without a word is found so; one that has been silent for longer than load balancers keep a connection goes. */
const keepAlive = {
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_connection_idle_ms': 245_000,
};

/** Protobuf's 64-bit integers as digits: a number would lose some. Empty lists are lists. */
const decoding = { keepCase: true, longs: String, defaults: true } as const;

/** The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`. */
export class GrpcListener {
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #sockets: NetServer;
  readonly #certificates: CertificateFiles | undefined;

  private constructor(server: Server, tls: TlsFiles | undefined, log: Logger) {
    this.#server = server;
    this.#certificates = tls === undefined ? undefined : new CertificateFiles(tls, log);
    const injector = server.createConnectionInjector(credentialsOf(this.#certificates));
    this.#injector = injector;
    // Sockets of our own: how many there are is ours to say, and when the last one has ended ours to see.
    this.#sockets = createServer((socket: Socket) => injector.injectConnection(socket.setNoDelay()));
    this.#sockets.maxConnections = connectionsMax;
  }

  /**
   * Starts to listen.
   * @throws {FerryError} PORT_IN_USE, FILE_UNREADABLE
   */
  static async start({ host, port, tls }: GrpcAddress, options: GrpcCallsOptions): Promise<GrpcListener> {
    const server = new Server({
      ...keepAlive,
      'grpc.max_receive_message_length': options.bodies.bodyBytesMax,
      'grpc.max_concurrent_streams': callsOfConnectionMax,
    });
    server.addService(inferenceService(), new GrpcCalls(options).handlers);
    const listener = new GrpcListener(server, tls, options.log);
    try {
      listener.#sockets.listen({ host, port });
      await once(listener.#sockets, 'listening');
      return listener;
    } catch (cause) {
      await listener.drain(0);
      if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
      throw new FerryError('PORT_IN_USE', `Cannot listen on ${host}:${port}: another program does`, { cause });
    }
  }

  get port(): number {
    return (this.#sockets.address() as AddressInfo).port;
  }

  /**
   * Takes no more calls, answers those in flight, and ends.
   * @returns whether all were answered in time
   */
  async drain(timeoutMs: number): Promise<boolean> {
    const { promise: ended, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    this.#sockets.close(() => resolve(true));
    // Tells every client to come back elsewhere; its connection ends with its last answer.
    this.#injector.drain(timeoutMs);
    const complete = await ended;
    clearTimeout(timer);
    this.#server.forceShutdown();
    this.#certificates?.[Symbol.dispose]();
    return complete;
  }
}

function credentialsOf(certificates: CertificateFiles | undefined): ServerCredentials {
  if (certificates === undefined) return ServerCredentials.createInsecure();
  return experimental.createCertificateProviderServerCredentials(certificates, certificates.clients, true);
}

function inferenceService(): ServiceDefinition {
  return fromJSON(inferenceDescriptor, decoding)['inference.GRPCInferenceService'] as ServiceDefinition;
}
