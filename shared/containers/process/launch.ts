import { access } from 'node:fs/promises';
import { posix } from 'node:path';
import { FerryError } from '../../errors.ts';
import type { ContainerSpec } from '../engine.ts';
import { elfInterpreter } from './elf-interpreter.ts';
import { resolveInRoot, type UnpackedImage } from './image-root.ts';

/** How to start a container's program as a process of this machine. */
export interface Launch {
  readonly program: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where the program is told to listen, if anywhere. */
  readonly listen?: { readonly host: string; readonly port: number };
}

/** The port that a scoring image exposes; its binding says where the process is to listen. */
const scoringPort = '5001/tcp';

/** Where shared libraries are on Debian, Fedora and Alpine, for both processors that images are built for. */
const libraryFolders = [
  '/lib64',
  '/usr/lib64',
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/local/lib',
  '/usr/lib',
  '/lib',
];

/**
 * Works out how to start what a container is to run out of the folder that its image is unpacked to, with no right to change the root
 * directory: the program is given to the image's own dynamic loader with the image's libraries, and every argument that is
 * a path in the image becomes the path where that is.
 * @throws {FerryError} IMAGE_INVALID when the image says no program, or one that is not in it or not runnable here
 */
export async function launchOf(spec: ContainerSpec, image: UnpackedImage): Promise<Launch> {
  const { root } = image;
  const config = image.config.config ?? {};
  const environment = environmentOf(spec, config.Env ?? []);
  const [name, ...given] = commandOf(spec, config.Entrypoint ?? [], config.Cmd ?? []);
  if (name === undefined) {
    throw new FerryError('IMAGE_INVALID', `Cannot run "${spec.name}": its image names no program to run`);
  }
  const program = await findProgram(root, name, environment['PATH'] ?? '/usr/local/bin:/usr/bin:/bin');
  const args = await Promise.all(given.map((argument) => argumentInRoot(root, argument)));
  const folder = await resolveInRoot(root, spec.settings.WorkingDir ?? (config.WorkingDir || '/'));
  const listen = listenOf(spec);
  const own = {
    ...environment,
    MODELFERRY_DATA_DIR: spec.dataFolder,
    ...(listen === undefined ? {} : { MODELFERRY_HOST: listen.host, MODELFERRY_PORT: String(listen.port) }),
  };
  const place = { folder, environment: own, ...(listen === undefined ? {} : { listen }) };
  const interpreter = await elfInterpreter(program);
  if (interpreter === undefined) return { program, args, ...place };
  const loader = await resolveInRoot(root, interpreter);
  const libraries = await libraryPath(root, environment['LD_LIBRARY_PATH']);
  return { program: loader, args: ['--library-path', libraries, program, ...args], ...place };
}

function commandOf(spec: ContainerSpec, entrypoint: readonly string[], cmd: readonly string[]): string[] {
  const { Entrypoint, Cmd } = spec.settings;
  const asList = (value: string | string[]): string[] => (typeof value === 'string' ? [value] : value);
  // Docker: an entrypoint of one's own takes the image's arguments away.
  if (Entrypoint !== undefined) return [...asList(Entrypoint), ...(Cmd === undefined ? [] : asList(Cmd))];
  return [...entrypoint, ...(Cmd === undefined ? cmd : asList(Cmd))];
}

function environmentOf(spec: ContainerSpec, ofImage: readonly string[]): Record<string, string> {
  const pairs = [...ofImage, ...(spec.settings.Env ?? [])].map((pair): [string, string] => {
    const at = pair.indexOf('=');
    return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  return { ...Object.fromEntries(pairs), ...spec.environment };
}

/** Where the scoring port is to be: where it is bound, else on a free port that only this machine reaches. */
function listenOf(spec: ContainerSpec): Launch['listen'] {
  const binding = spec.settings.HostConfig?.PortBindings?.[scoringPort]?.[0];
  if (binding === undefined) {
    return spec.settings.ExposedPorts?.[scoringPort] === undefined ? undefined : { host: '127.0.0.1', port: 0 };
  }
  return { host: binding.HostIp || '0.0.0.0', port: Number(binding.HostPort || 0) };
}

async function findProgram(root: string, name: string, searchPath: string): Promise<string> {
  const places = name.includes('/') ? [name] : searchPath.split(':').map((folder) => posix.join(folder, name));
  for (const place of places) {
    const path = await resolveInRoot(root, place);
    if (await exists(path)) return path;
  }
  throw new FerryError('IMAGE_INVALID', `Cannot run "${name}": the image has no such program`);
}

async function argumentInRoot(root: string, argument: string): Promise<string> {
  if (!argument.startsWith('/')) return argument;
  const path = await resolveInRoot(root, argument);
  return (await exists(path)) ? path : argument;
}

async function libraryPath(root: string, ofImage: string | undefined): Promise<string> {
  const folders = [...(ofImage === undefined ? [] : ofImage.split(':')), ...libraryFolders];
  const found = await Promise.all(
    folders.map(async (folder) => {
      const path = await resolveInRoot(root, folder);
      return (await exists(path)) ? [path] : [];
    }),
  );
  return [...new Set(found.flat())].join(':');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
