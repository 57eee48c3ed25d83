import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { expect } from 'vitest';
import { processesWith } from '../../shared/containers/process/process-identity.ts';
import { deviceId, type Rig } from '../agent/rig.ts';

/** A module as it is found on a device, by whatever it left there. */
export interface FoundModule {
  readonly name: string;
  readonly image: string;
  /** What the deployment counts in its environment. */
  readonly count: string;
  /** How many of it run. */
  readonly running: number;
}

/** Finds all that an agent has of modules, whether it knows of them or not, by name. */
export async function foundModules(rig: Rig, engine: 'process' | 'docker'): Promise<FoundModule[]> {
  const found = engine === 'docker' ? await inDocker(rig) : await asProcesses(rig);
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Sees that every image of the device is there wholly, and no half of one. */
export async function expectWholeImages({ stateFolder }: Pick<Rig, 'stateFolder'>): Promise<void> {
  const folder = join(stateFolder, 'images');
  const read = async (digest: string): Promise<Buffer> => readFile(join(folder, 'blobs', digest.replace(':', '/')));
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as { manifests: Blob[] };
  for (const { digest } of index.manifests) {
    const manifest = JSON.parse((await read(digest)).toString()) as { config: Blob; layers: Blob[] };
    for (const blob of [manifest.config, ...manifest.layers]) {
      expect((await stat(join(folder, 'blobs', blob.digest.replace(':', '/')))).size).toBe(blob.size);
    }
  }
  const roots = await readdir(join(stateFolder, 'processes', 'roots')).catch(() => []);
  expect(roots.filter((name) => !/^sha256-[0-9a-f]{64}$/.test(name))).toEqual([]);
}

/** Sees that every file of the agent's state is whole, and that no folder of a rehearsal is left. */
export async function expectWholeState({ stateFolder }: Pick<Rig, 'stateFolder'>): Promise<void> {
  const names = (await readdir(stateFolder)).filter((name) => name.endsWith('.json'));
  expect(names).toEqual(expect.arrayContaining(['agent.json', 'desired.json']));
  for (const name of names) JSON.parse(await readFile(join(stateFolder, name), 'utf8'));
  const desired = JSON.parse(await readFile(join(stateFolder, 'desired.json'), 'utf8')) as Record<string, unknown>;
  expect(desired).toMatchObject({ deviceId });
  for (const digest of [desired['current'], desired['fallback']]) {
    if (typeof digest !== 'string') continue;
    JSON.parse(await readFile(join(stateFolder, 'generations', `${digest.replace(':', '-')}.json`), 'utf8'));
  }
  const folders = await readdir(join(stateFolder, 'modules')).catch(() => []);
  expect(folders.filter((name) => name.endsWith('.rehearsal'))).toEqual([]);
}

interface Blob {
  readonly digest: string;
  readonly size: number;
}

async function inDocker(rig: Rig): Promise<FoundModule[]> {
  const { owner } = JSON.parse(await readFile(join(rig.stateFolder, 'agent.json'), 'utf8')) as { owner: string };
  const filters = JSON.stringify({ label: [`modelferry.owner=${owner}`] });
  const containers = await new Docker().listContainers({ all: true, filters });
  return containers.map(({ Labels: labels, State: state }) =>
    moduleOf(labels['modelferry.name'] ?? '', labels, state === 'running' ? 1 : 0),
  );
}

async function asProcesses(rig: Rig): Promise<FoundModule[]> {
  const engine = join(rig.stateFolder, 'processes');
  const found: FoundModule[] = [];
  for (const name of await readdir(join(engine, 'containers'))) {
    const text = await readFile(join(engine, 'containers', name, 'record.json'), 'utf8');
    const { spec } = JSON.parse(text) as { spec: { labels: Record<string, string> } };
    found.push(moduleOf(name, spec.labels, 0));
  }
  // By their mark alone, so that a process counts that nothing was written down about.
  const running = await runningByModule(engine);
  const names = new Set([...found.map(({ name }) => name), ...running.keys()]);
  return [...names].map((name) => ({
    ...(found.find((module) => module.name === name) ?? moduleOf(name, {}, 0)),
    running: running.get(name) ?? 0,
  }));
}

/** Counts the families of processes of each module: a module's whole family has one process group. */
async function runningByModule(engine: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const name of ['first', 'scored', 'more0', 'more1', 'more2', 'scored.rehearsal']) {
    const pids = await processesWith('MODELFERRY_PROCESS', join(engine, name));
    const groups = new Set((await Promise.all(pids.map(groupOf))).filter((group) => group !== ''));
    if (groups.size > 0) counts.set(name, groups.size);
  }
  return counts;
}

async function groupOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[2] ?? '';
}

function moduleOf(name: string, labels: Readonly<Record<string, string>>, running: number): FoundModule {
  const environment = JSON.parse(labels['net.azure-devices.edge.env'] ?? '{}') as Record<string, string>;
  return {
    name,
    image: labels['net.azure-devices.edge.original-image'] ?? '',
    count: environment['COUNT'] ?? 'undefined',
    running,
  };
}
