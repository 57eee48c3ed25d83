import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { buffer } from 'node:stream/consumers';
import { pack, type Pack } from 'tar-stream';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { programCommand } from '../../shared/programs.ts';

const mediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

/** How long the registry may take to answer one request, in milliseconds. */
const pushTimeoutMs = 30_000;
const repository = 'fleet/model';
const shell = '/bin/sh';
const scriptPath = '/opt/run.sh';

/**
 * What an image serves: no model, but a script that gives the version of its image, and has the row that it was given collected.
 * @see agent/scoring/README.md, "Scripts"
 */
const serviceConfig = JSON.stringify({ schemaVersion: 1, models: [] });
const scoreScript = (version: number): string => `
export function run({ row }, { collect }) {
  collect('inputs', { row: { type: 'float64', shape: [1], data: Float64Array.of(row) } });
  return { version: ${version} };
}
`;

/** One process scores, and what it is told to collect is kept for the agent. @see agent/scoring/README.md, "Settings" */
const environment = [
  'WORKER_COUNT=1',
  'AML_MODEL_DC_STORAGE_ENABLED=true',
  'SERVICE_NAME=fleet',
  'MODELFERRY_WORKSPACE=fleet/simulated/fleet',
];

/** Starts the project's scoring server, as this machine has it, on what is in the image, wherever that was unpacked to. */
const startScript = (): string => {
  const command = programCommand('scoring').map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`);
  return `MODELFERRY_ROOT="\${0%${scriptPath}}" exec ${command.join(' ')}\n`;
};

/**
 * Pushes the images that real agents run, and gives their names by digest: this machine's shell, which starts the scoring server of this machine with
 * a script of its own. So they are a few megabytes, and run as processes of this machine alone.
 * @throws {FerryError} WORLD_FAILED when the registry does not take them
 */
export async function pushImages(registryHost: string, versions: number): Promise<string[]> {
  const base = await tar(async (into) => {
    for (const path of [shell, ...(await librariesOf(shell))]) await addFile(into, path);
  });
  const names: string[] = [];
  for (let version = 1; version <= versions; version += 1) {
    const own = await tar(async (into) => {
      into.entry({ name: scriptPath.slice(1), mode: 0o755 }, startScript());
      into.entry({ name: 'app/service.json' }, serviceConfig);
      into.entry({ name: 'app/score.mjs' }, scoreScript(version));
    });
    const layers = await Promise.all([base, own].map((content) => pushBlob(registryHost, content, mediaTypes.layer)));
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config: {
          Entrypoint: [shell, scriptPath],
          Env: environment,
          ExposedPorts: { '5001/tcp': {} },
        },
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      }),
    );
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await pushBlob(registryHost, config, mediaTypes.config),
      layers,
    });
    const headers = { 'content-type': mediaTypes.manifest };
    await push(registryHost, `manifests/${version}`, { method: 'PUT', headers, body: manifest });
    names.push(`${registryHost}/${repository}@${digestOf(manifest)}`);
  }
  return names;
}

async function pushBlob(
  host: string,
  content: Buffer,
  mediaType: string,
): Promise<{ readonly mediaType: string; readonly digest: Digest; readonly size: number }> {
  const digest = digestOf(content);
  await push(host, `blobs/uploads/?digest=${digest}`, { method: 'POST', body: new Uint8Array(content) });
  return { mediaType, digest, size: content.length };
}

async function push(host: string, path: string, request: RequestInit): Promise<void> {
  const address = `http://${host}/v2/${repository}/${path}`;
  const answer = await fetch(address, { ...request, signal: AbortSignal.timeout(pushTimeoutMs) });
  if (answer.status === 201) return;
  throw new FerryError(
    'WORLD_FAILED',
    `Cannot push an image for real agents: ${address} answers ${answer.status}, 201 was wanted`,
  );
}

async function tar(fill: (into: Pack) => Promise<void>): Promise<Buffer> {
  const into = pack();
  const content = buffer(into);
  await fill(into);
  into.finalize();
  return content;
}

async function addFile(into: Pack, path: string): Promise<void> {
  const { size } = await stat(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const entry = into.entry({ name: path.slice(1), size, mode: 0o755 }, (error) => {
    if (error) reject(error);
    else resolve();
  });
  createReadStream(path).on('error', reject).pipe(entry);
  await promise;
}

/** Asks the system's loader which libraries a program takes, itself among them. */
async function librariesOf(program: string): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('ldd', [program]);
    return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
  } catch (cause) {
    throw new FerryError('WORLD_FAILED', `Cannot make an image for real agents of "${program}"`, { cause });
  }
}
