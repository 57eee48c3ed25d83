import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { type Digest, digestOf } from '../../../shared/digest.ts';
import { type LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { type LayerEntry, tarLayer } from '../../../shared/oci/tar-layer.ts';

/** What goes into a test image. */
interface TestImageOptions {
  /** Shell script that it runs; JavaScript where `node` is given. */
  readonly script: string;
  readonly environment?: readonly string[];
  /** This machine's Node, put in and run as a scoring image runs it. */
  readonly node?: string;
  /** What stands in `/app/service.json`, in a layer of its own. @default there is none */
  readonly service?: unknown;
}

/** Programs of this machine that are in every test image: a shell, and something to wait with. */
const programs = ['/bin/sh', '/bin/sleep', '/bin/cat'];

/**
 * Puts a small image into a layout, as the repository `test`: this machine's shell with its libraries in one layer, a script in another.
 * Runs without root, and on a read-only root file system.
 */
export async function putTestImage(layout: LayoutStore, options: TestImageOptions): Promise<Digest> {
  const { script, node } = options;
  const entrypoint = node === undefined ? ['/bin/sh', '/opt/run.sh'] : ['/usr/local/bin/node', '/opt/run.mjs'];
  const tools = node === undefined ? programs : [node];
  const layers = [
    await putLayer(layout, [
      ...tools.map((path) => fileEntry(path, path === node ? '/usr/local/bin/node' : path)),
      ...librariesOf(tools).map((path) => fileEntry(path)),
      { kind: 'file', path: '/etc/passwd', content: Buffer.from('root:x:0:0::/:/bin/sh\n') },
      { kind: 'directory', path: '/tmp', mode: 0o777 },
      { kind: 'directory', path: '/app' },
    ]),
    await putLayer(layout, [{ kind: 'file', path: entrypoint[1] ?? '', mode: 0o755, content: Buffer.from(script) }]),
    ...(options.service === undefined
      ? []
      : [await putLayer(layout, [{ kind: 'file', path: '/app/service.json', content: encodeJson(options.service) }])]),
  ];
  const config = encodeJson({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: {
      Entrypoint: entrypoint,
      Env: ['PATH=/bin', ...(options.environment ?? [])],
      User: '10001:10001',
      WorkingDir: '/app',
      ExposedPorts: { '5001/tcp': {} },
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  });
  await layout.putBlob(config);
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers,
  });
  return (await layout.putManifest('test', 'latest', manifest, mediaTypes.manifest)).digest;
}

async function putLayer(
  layout: LayoutStore,
  entries: readonly LayerEntry[],
): Promise<{ mediaType: string; digest: Digest; size: number }> {
  return { mediaType: mediaTypes.layer, ...(await layout.putBlob(tarLayer(entries))) };
}

function fileEntry(path: string, as: string = path): LayerEntry {
  return { kind: 'file', path: as, mode: 0o755, content: { file: path, size: statSync(path).size } };
}

function librariesOf(paths: readonly string[]): string[] {
  const found = paths.flatMap((path) => {
    if (!readFileSync(path).subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) return [];
    const output = execFileSync('ldd', [path], { encoding: 'utf8' });
    return [...output.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  });
  return [...new Set(found)];
}
