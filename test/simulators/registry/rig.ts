import { join } from 'node:path';
import { type Digest, digestOf } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { type Registry, startRegistry } from '../../../simulators/registry/registry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

/** A registry over a layout of its own, and what asks it. */
export interface RegistryRig extends AsyncDisposable {
  readonly registry: Registry;
  readonly layoutDir: string;
  /** Asks for a path under `/v2/`. */
  ask(method: string, path: string, options?: { headers?: Record<string, string>; body?: string }): Promise<Response>;
  /** Pushes a blob in one request and gives its digest. */
  pushBlob(repository: string, content: string): Promise<Digest>;
  /** Pushes an image of one layer with the content, and gives the manifest's digest. */
  pushImage(repository: string, reference: string, content: string, more?: object): Promise<Digest>;
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';

export async function startRig(): Promise<RegistryRig> {
  const folder = await temporaryFolder();
  const layoutDir = join(folder.path, 'layout');
  const registry = await startRegistry({ layoutDir, port: 0, log: createLogger('registry', { level: 'silent' }) });
  const ask: RegistryRig['ask'] = (method, path, options = {}) =>
    fetch(`http://${registry.host}/v2/${path}`, { method, ...options, signal: AbortSignal.timeout(10_000) });
  const pushBlob: RegistryRig['pushBlob'] = async (repository, content) => {
    const digest = digestOf(content);
    await expectStatus(201, ask('POST', `${repository}/blobs/uploads/?digest=${digest}`, { body: content }));
    return digest;
  };
  return {
    registry,
    layoutDir,
    ask,
    pushBlob,
    async pushImage(repository, reference, content, more = {}) {
      const body = JSON.stringify({
        schemaVersion: 2,
        mediaType: manifestType,
        config: {
          mediaType: 'application/vnd.oci.image.config.v1+json',
          digest: await pushBlob(repository, '{}'),
          size: 2,
        },
        layers: [
          {
            mediaType: 'application/vnd.oci.image.layer.v1.tar',
            digest: await pushBlob(repository, content),
            size: Buffer.byteLength(content),
          },
        ],
        ...more,
      });
      const headers = { 'content-type': manifestType };
      await expectStatus(201, ask('PUT', `${repository}/manifests/${reference}`, { headers, body }));
      return digestOf(body);
    },
    async [Symbol.asyncDispose]() {
      await registry.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Fails with the answer's body where the status is another one. */
export async function expectStatus(status: number, asked: Promise<Response>): Promise<Response> {
  const response = await asked;
  if (response.status === status) return response;
  throw new Error(`${response.url} answered ${response.status}, not ${status}: ${await response.text()}`);
}
