import { fileURLToPath } from 'node:url';
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** The protocol as it is published: the server has its own copy, so that one wrong number cannot pass on both sides. */
const protoFile = fileURLToPath(new URL('../../../data/open_inference_grpc.proto', import.meta.url));

/** What a call came to: the answer with its headers, or the status. */
export interface GrpcAnswer {
  readonly code: number;
  readonly message: string;
  readonly headers: Metadata;
  // What protobuf gives is looked at as it is.
  readonly body: Record<string, unknown>;
}

/** A client of the service, made from the published file. */
export interface InferenceClient extends Disposable {
  call(
    name: string,
    message?: object,
    options?: { readonly headers?: Record<string, string>; readonly call?: CallOptions; readonly signal?: AbortSignal },
  ): Promise<GrpcAnswer>;
}

/** Connects. */
export function connectGrpc(
  port: number | undefined,
  { channel = credentials.createInsecure(), options = {} }: { channel?: ChannelCredentials; options?: object } = {},
): InferenceClient {
  const loaded = loadPackageDefinition(loadSync(protoFile, { keepCase: true, longs: String, defaults: true }));
  const Service = (loaded['inference'] as Record<string, unknown>)['GRPCInferenceService'] as ServiceClientConstructor;
  const client = new Service(`127.0.0.1:${port}`, channel, options) as Client & Record<string, Unary>;
  return {
    call: (name, message = {}, { headers = {}, call: callOptions = {}, signal } = {}) => {
      const metadata = new Metadata();
      for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
      const { promise, resolve } = Promise.withResolvers<GrpcAnswer>();
      let received = new Metadata();
      const unary = client[name]?.bind(client);
      if (unary === undefined) throw new Error(`There is no call "${name}"`);
      const call = unary(message, metadata, callOptions, (error, body) => {
        resolve({
          code: error?.code ?? 0,
          message: error?.details ?? '',
          headers: received,
          body: (body ?? {}) as Record<string, unknown>,
        });
      });
      call.on('metadata', (metadata: Metadata) => {
        received = metadata;
      });
      signal?.addEventListener('abort', () => call.cancel());
      return promise;
    },
    [Symbol.dispose]: () => client.close(),
  };
}

type Unary = (
  message: object,
  metadata: Metadata,
  options: CallOptions,
  callback: (error: ServiceError | null, body: unknown) => void,
) => { on(event: string, listener: (metadata: Metadata) => void): void; cancel(): void };
