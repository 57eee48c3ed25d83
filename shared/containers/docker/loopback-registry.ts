import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { type Digest, isDigest } from '../../digest.ts';
import type { LayoutStore } from '../../oci/layout-store.ts';
import { readManifest } from '../image-layout.ts';

/** The one repository of the registry; what is in it is told apart by digest. */
const repository = 'image';

/**
 * A registry that gives out the images of a layout, by digest only, on this machine's loopback address and a free port. Docker takes
 * 127.0.0.0/8 for registries without TLS.
 * @see OCI distribution-spec 1.1, "Pull"
 */
export class LoopbackRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
  }

  static async open(layout: LayoutStore): Promise<LoopbackRegistry> {
    const server = createServer((request, response) => {
      // A client that goes away in the middle of a blob is no failure of ours.
      answer(layout, request, response).catch(() => response.destroy());
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
    await promise;
    return new LoopbackRegistry(server, (server.address() as AddressInfo).port);
  }

  /** Gives what Docker is to pull. */
  reference(image: Digest): string {
    return `127.0.0.1:${this.#port}/${repository}@${image}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }
}

async function answer(layout: LayoutStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '' } = request;
  if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405, 'UNSUPPORTED');
  if (/^\/v2\/?$/.test(url)) {
    response.setHeader('Docker-Distribution-API-Version', 'registry/2.0');
    response.end();
    return;
  }
  const match = new RegExp(`^/v2/${repository}/(manifests|blobs)/([^/?]+)$`).exec(url);
  const [, kind, digest] = match ?? [];
  if (kind === undefined || digest === undefined || !isDigest(digest)) return refuse(response, 404, 'NAME_UNKNOWN');
  const size = await layout.blobSize(digest);
  if (size === undefined) return refuse(response, 404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN');
  const isBlob = kind === 'blobs';
  const type = isBlob ? 'application/octet-stream' : (await readManifest(layout, digest)).descriptor.mediaType;
  response.writeHead(200, { 'Content-Type': type, 'Content-Length': size, 'Docker-Content-Digest': digest });
  if (method === 'HEAD') response.end();
  else await pipeline(await layout.openBlob(digest), response);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] }));
}
