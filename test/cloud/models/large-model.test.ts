import { mkdir, open, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { findProgram } from '../../../shared/programs.ts';
import { workspaceRig } from '../workspace-rig.ts';
import { model, tensorValue } from './onnx-writer.ts';

/** A table of a billion numbers, 4 GB. */
const rows = 15_625_000;
const columns = 64;
const weightBytes = rows * columns * 4;

// Reads the high-water mark where it is for good: the one of getrusage() is that of the parent, where this one forked.
const printPeak =
  'data:text/javascript,process.on("exit",()=>console.error(/VmHWM:.*/.exec(process.getBuiltinModule("fs").readFileSync("/proc/self/status","utf8"))[0]))';

test(
  'a model of 4 GB with its weights beside the graph is registered in under 300 MB of memory',
  { timeout: 180_000 },
  async ({ skip }) => {
    const { bavail, bsize } = await statfs(tmpdir());
    if (bavail * bsize < 2 * weightBytes) skip('there is no room for 4 GB');
    await using rig = await workspaceRig();
    const folder = join(rig.folder, 'model');
    await writeTableModel(folder);
    await writeFile(join(rig.folder, 'sample.json'), JSON.stringify({ id: [0, rows - 1] }));
    const args = ['model', 'register', folder, '--name', 'table', '--sample', 'sample.json', '--json'];
    const child = spawn(process.execPath, ['--import', printPeak, findProgram('ferry').path, ...args], {
      cwd: rig.folder,
    });
    const ended = once(child, 'close');
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    await ended;
    const peakKilobytes = Number(/^VmHWM:\s+(\d+) kB\n$/.exec(stderr)?.[1]);
    expect(peakKilobytes, `it wrote ${stderr}`).toBeLessThan(300_000);
    const registered: unknown = JSON.parse(stdout);
    const row = Array.from({ length: columns }, () => 0);
    expect(registered).toMatchObject({
      files: [{ path: 'table.onnx' }, { path: 'weights.bin', sizeBytes: weightBytes }],
      sample: { output: { row: [row, [...row.slice(1), 1.5]] } },
    });
  },
);

/** Writes a model that looks rows up in a table; the table is a hole but for its last number. */
async function writeTableModel(folder: string): Promise<void> {
  await mkdir(folder);
  const location = message([1, 'location'], [2, 'weights.bin']);
  const table = message([1, rows], [1, columns], [2, 1], [8, 'table'], [13, location], [14, 1]);
  const gather = message([1, 'table'], [1, 'id'], [2, 'row'], [4, 'Gather']);
  const graph = model(
    [5, table],
    [1, gather],
    [11, tensorValue('id', 7, ['n'])],
    [12, tensorValue('row', 1, ['n', columns])],
  );
  await writeFile(join(folder, 'table.onnx'), graph);
  await using weights = await open(join(folder, 'weights.bin'), 'w');
  await weights.write(new Uint8Array(new Float32Array([1.5]).buffer), 0, 4, weightBytes - 4);
}
