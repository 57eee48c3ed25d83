import { copyFile, mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listImages } from '../../../cloud/images/image.ts';
import { listModels } from '../../../cloud/models/model.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { documentOf, type FerryRun, runFerry } from '../../ferry.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { settled } from '../settled-file.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';
const files = (...texts: string[]): string[] => texts.flatMap((text) => ['--model-file', text]);

test.runIf(onLinux)(
  'ferry image create --model-file registers, builds and pushes what is new, and nothing else',
  async () => {
    await using registry = await startRig();
    await using rig = await createRig();
    await rig.workspace.setEndpoints({ registry: registry.registry.host }, {});
    await rig.put(digitsFile);
    expect(await rig.created('--model-file', 'digits.onnx')).toMatchObject({
      id: 'digits:1',
      models: ['digits:1'],
      registered: ['digits:1'],
      created: true,
    });
    const client = new RegistryClient(registry.registry.host);
    expect([await client.tags('models/digits'), await client.tags('digits')]).toEqual([['1'], ['1']]);

    const same = { id: 'digits:1', registered: [], created: false, bytesBuilt: 0, push: { bytesPushed: 0 } };
    expect(await rig.created('--model-file', 'digits.onnx')).toMatchObject(same);
    await utimes(join(rig.folder, 'digits.onnx'), 1_000, 1_000);
    expect(await rig.created('--model-file', 'digits.onnx')).toMatchObject(same);
    expect(listModels(rig.workspace.database, {})).toHaveLength(1);

    await rig.put(logisticFile);
    const { stdout } = await rig.create('--model-file', 'digits.onnx');
    expect(stdout).toMatch(/^image +digits:2\n/);
    expect(stdout).toMatch(/\nRegistered digits:2\.\nBuilt [^\n]*; pushed [^\n]*\.\n$/);
    expect([await client.tags('models/digits'), await client.tags('digits')]).toEqual([
      ['1', '2'],
      ['1', '2'],
    ]);
  },
);

test.runIf(onLinux)('ferry image create takes several model files and models, each by its name', async () => {
  await using rig = await createRig();
  await rig.put(digitsFile);
  await writeFile(join(rig.folder, 'sample.json'), JSON.stringify({ data: [Array.from({ length: 64 }, () => 0)] }));
  await mkdir(join(rig.folder, 'in=side'));
  await copyFile(logisticFile, join(rig.folder, 'in=side', 'logistic.onnx'));
  const one = await rig.created('--model-file', 'first=digits.onnx', '--sample', 'sample.json');
  expect(one).toMatchObject({ id: 'first:1', registered: ['first:1'] });
  expect(listModels(rig.workspace.database, {})).toMatchObject([{ name: 'first', sample: { output: {} } }]);
  const more = files('in=side/logistic.onnx', 'third=in=side');
  expect(await rig.created('--name', 'all', '--model', 'first:1', ...more)).toMatchObject({
    id: 'all:1',
    models: ['first:1', 'logistic:1', 'third:1'],
    registered: ['logistic:1', 'third:1'],
  });
});

test.runIf(onLinux)('ferry image create that failed after a model was registered goes on from there', async () => {
  await using rig = await createRig();
  await rig.put(digitsFile);
  const failed = await rig.create('--model-file', 'digits.onnx', '--script', 'score.ts');
  expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining('error FILE_NOT_FOUND')]);
  expect(listModels(rig.workspace.database, {})).toMatchObject([{ name: 'digits', version: 1 }]);
  await writeFile(join(rig.folder, 'score.ts'), 'export const run = (rows: unknown) => rows;\n');
  expect(await rig.created('--model-file', 'digits.onnx', '--script', 'score.ts')).toMatchObject({
    id: 'digits:1',
    models: ['digits:1'],
    registered: [],
    created: true,
  });
});

test.each([
  ['a name that is taken from the file and none', files('bad name.onnx'), 1, /NAME_INVALID.*the name is "bad name"/],
  ['a name that is said and none', files('-=digits.onnx'), 1, /NAME_INVALID.*is "-".*\n.*--model-file NAME=PATH/],
  ['the same name twice', files('digits.onnx', 'digits=digits.onnx'), 2, /USAGE.*"digits" was given twice/],
  ['the name of a --model', [...files('digits.onnx'), '--model', 'digits:1'], 2, /USAGE.*"digits" was given twice/],
  [
    'a --model that is not there',
    [...files('digits.onnx'), '--model', 'x', '--name', 'all'],
    1,
    /MODEL_NOT_FOUND.*"x"/,
  ],
  [
    'two with a sample',
    [...files('digits.onnx', 'b=digits.onnx'), '--sample', 's.json'],
    2,
    /USAGE.*2 model files, one/,
  ],
  ['a sample alone', ['--sample', 's.json'], 2, /USAGE.*0 model files, one/],
  [
    'several without a name of the image',
    files('digits.onnx', 'b=digits.onnx'),
    2,
    /USAGE.*several models and no name/,
  ],
  ['an image name that is none', files('NO=digits.onnx'), 1, /NAME_INVALID.*build the image: the name is "NO"/],
  [
    'a file that is not there',
    [...files('digits.onnx', 'b=none.onnx'), '--name', 'all'],
    1,
    /FILE_NOT_FOUND.*none\.onnx/,
  ],
  ['what is no ONNX file', files('notes.onnx'), 1, /MODEL_INVALID/],
])('ferry image create --model-file refuses %s, and registers nothing', async (_what, args, code, words) => {
  await using rig = await createRig();
  await rig.put(digitsFile);
  await copyFile(digitsFile, join(rig.folder, 'bad name.onnx'));
  await writeFile(join(rig.folder, 'notes.onnx'), 'not of the kind');
  const refused = await rig.create(...args);
  expect([refused.code, refused.stderr]).toEqual([code, expect.stringMatching(words)]);
  expect([listModels(rig.workspace.database, {}), listImages(rig.workspace.database)]).toEqual([[], []]);
});

interface CreateRig extends WorkspaceRig {
  /** Puts a model at `digits.onnx`. */
  put(file: string): Promise<void>;
  create(...args: string[]): Promise<FerryRun>;
  /** Gives the document of a creation that went well. */
  created(...args: string[]): Promise<unknown>;
}

async function createRig(): Promise<CreateRig> {
  const rig = await workspaceRig();
  const create = (...args: string[]): Promise<FerryRun> => runFerry(['image', 'create', ...args], { cwd: rig.folder });
  return {
    ...rig,
    put: async (file) => {
      await copyFile(file, join(rig.folder, 'digits.onnx'));
      await settled(join(rig.folder, 'digits.onnx'));
    },
    create,
    created: async (...args) => documentOf(await create(...args, '--json'), args),
  };
}
