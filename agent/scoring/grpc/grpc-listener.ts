import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import { Server, ServerCredentials, experimental } from '@grpc/grpc-js';
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
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
  readonly #sockets: NetServer;
  readonly #server: Server;
  readonly #certificates: CertificateFiles | undefined;

  private constructor(server: Server, sockets: NetServer, certificates: CertificateFiles | undefined) {
    this.#server = server;
    this.#sockets = sockets;
    this.#certificates = certificates;
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
    const certificates = tls === undefined ? undefined : new CertificateFiles(tls, options.log);
    const credentials =
      certificates === undefined
        ? ServerCredentials.createInsecure()
        : experimental.createCertificateProviderServerCredentials(certificates, certificates.clients, true);
    const injector = server.createConnectionInjector(credentials);
    const sockets = createServer((socket: Socket) => injector.injectConnection(socket.setNoDelay()));
    sockets.maxConnections = connectionsMax;
    const listener = new GrpcListener(server, sockets, certificates);
    try {
      sockets.listen({ host, port });
      await once(sockets, 'listening');
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
    this.#sockets.close();
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    const answered = new Promise<boolean>((done) => {
      this.#server.tryShutdown((error) => done(error === undefined));
    });
    const complete = await Promise.race([answered, late]);
    clearTimeout(timer);
    this.#server.forceShutdown();
    this.#certificates?.[Symbol.dispose]();
    return complete;
  }
}

function inferenceService(): ServiceDefinition {
  return fromJSON(inferenceDescriptor, decoding)['inference.GRPCInferenceService'] as ServiceDefinition;
}
