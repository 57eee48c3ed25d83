import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CgroupLimits } from '../../../../shared/containers/process/cgroup-limits.ts';
import { ProcessEngine } from '../../../../shared/containers/process/process-engine.ts';
import { createLogger } from '../../../../shared/log.ts';
import { LayoutStore } from '../../../../shared/oci/layout-store.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { canLimit, controlGroups } from '../control-groups.ts';
import { putTestImage } from '../test-image.ts';

if (!canLimit) console.warn('no control group can be made here: the test of them is skipped');

const limited = { HostConfig: { Memory: 64 * 1024 * 1024, NanoCpus: 500_000_000, PidsLimit: 20 } };

/** A log that keeps its lines. */
function keptLog(): { lines: string[]; log: ReturnType<typeof createLogger> } {
  const lines: string[] = [];
  return { lines, log: createLogger('test', { format: 'json', destination: { write: (line) => lines.push(line) } }) };
}

/** The control groups of containers, in every tree that there is. */
async function groups(): Promise<string[]> {
  const trees = new Set(['memory', 'cpu', 'pids'].map(controlGroups));
  const found = [...trees].map((tree) => readdir(join(tree, 'modelferry'), { withFileTypes: true }).catch(() => []));
  return (await Promise.all(found)).flat().flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

test.skipIf(!canLimit)(
  'ProcessEngine puts a container and all it starts into groups of its own with its limits, which go when it ends',
  async () => {
    await using folder = await temporaryFolder();
    const { lines, log } = keptLog();
    const layout = await LayoutStore.open(join(folder.path, 'layout'));
    const image = await putTestImage(layout, { script: 'sleep 600 & echo $$ $! > "$MODELFERRY_DATA_DIR/pids"; wait' });
    const engine = await ProcessEngine.open({ layout, folder: join(folder.path, 'engine'), log });
    await engine.prepareImage(image);
    const dataFolder = join(folder.path, 'data');
    await mkdir(dataFolder);
    const before = await groups();
    await engine.create({ name: 'small', image, environment: {}, settings: limited, dataFolder, labels: {} });
    await engine.start('small');
    const pids = await until(async () => {
      const text = await readFile(join(dataFolder, 'pids'), 'utf8');
      return text.endsWith('\n') && text.trim().split(' ');
    });
    const own = (await groups()).filter((name) => !before.includes(name));
    expect(own[0]).toMatch(/^[0-9a-f]{12}\.small$/);
    for (const pid of pids) {
      const memberships = await readFile(`/proc/${pid}/cgroup`, 'utf8');
      expect(memberships.split('\n').filter((line) => line.endsWith(`/modelferry/${own[0]}`)).length).toBe(own.length);
    }
    await engine.stop('small', { graceMs: 1_000 });
    expect((await groups()).filter((name) => !before.includes(name))).toEqual([]);
    expect(lines.filter((line) => line.includes('limits'))).toEqual([]);
  },
);

test('CgroupLimits writes the limits where version 2 has them, and lets the levels above give them on', async () => {
  await using folder = await temporaryFolder();
  const { log } = keptLog();
  // Other than the kernel's, files here hold what was written last.
  await writeFile(join(folder.path, 'cgroup.controllers'), 'cpu memory pids\n');
  const limits = new CgroupLimits('/var/lib/modelferry/processes', { log, mount: folder.path });
  await limits.make({ name: 'small', settings: limited });
  await limits.enter('small', 4_194_304);
  const [group = ''] = (await readdir(join(folder.path, 'modelferry'))).filter((name) => name.endsWith('.small'));
  const read = (...path: string[]): Promise<string> => readFile(join(folder.path, ...path), 'utf8');
  expect(await read('cgroup.subtree_control')).toBe('+memory +cpu +pids');
  expect(await read('modelferry', 'cgroup.subtree_control')).toBe('+memory +cpu +pids');
  expect(await read('modelferry', group, 'memory.max')).toBe('67108864');
  expect(await read('modelferry', group, 'cpu.max')).toBe('50000 100000');
  expect(await read('modelferry', group, 'pids.max')).toBe('20');
  expect(await read('modelferry', group, 'cgroup.procs')).toBe('4194304');
});

test('CgroupLimits makes nothing for a container without limits, and says why one goes without those that it should have', async () => {
  await using folder = await temporaryFolder();
  const { lines, log } = keptLog();
  const limits = new CgroupLimits('/var/lib/modelferry/processes', { log, mount: join(folder.path, 'none') });
  await limits.make({ name: 'free', settings: { HostConfig: { Memory: 0, NanoCpus: 0, PidsLimit: -1 } } });
  expect(lines).toEqual([]);
  expect(await limits.make({ name: 'small', settings: limited })).toBe(false);
  // As in a container or a namespace that none is mounted in; the kernel makes no folder there either.
  const unmounted = new CgroupLimits('/var/lib/modelferry/processes', { log, mount: '/proc/self' });
  expect(await unmounted.make({ name: 'small', settings: limited })).toBe(false);
  const without = /"container":"small".*ENOENT.*running it without all of its limits/;
  expect(lines).toEqual([expect.stringMatching(without), expect.stringMatching(without)]);
});
