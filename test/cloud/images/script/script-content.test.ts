import { chmod, cp, symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bundleScript } from '../../../../cloud/images/script/bundle-script.ts';
import { scriptContent } from '../../../../cloud/images/script/script-content.ts';
import { digestOf } from '../../../../shared/digest.ts';
import { tarLayer } from '../../../../shared/oci/tar-layer.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { doublePackage, lockOf, scriptFolder } from './script-rig.ts';

const script = `import double from 'double';
import { offset } from './lib/offset';
export const run = (input: { x: number }): number => double(input.x) + offset;
`;
const project = {
  'score.ts': script,
  'lib/offset.ts': 'export const offset: number = 1;\n',
  'data/labels.txt': 'zero\none\n',
  'package-lock.json': lockOf('1.2.3'),
  ...doublePackage,
};

test('scriptContent() bundles a script with its packages, names them as they are locked, and puts files beside it', async () => {
  await using rig = await scriptFolder(project);
  const content = await scriptContent({ path: rig.path('score.ts'), include: [rig.path('data')] });
  expect(content.entries.map(({ path }) => path)).toEqual([
    '/app/score.mjs',
    '/app/score.mjs.map',
    '/app/data/labels.txt',
  ]);
  expect(content.components).toEqual([
    {
      type: 'library',
      name: 'double',
      version: '1.2.3',
      purl: 'pkg:npm/double@1.2.3',
      license: 'MIT',
      integrity: `sha512-${Buffer.alloc(64, 7).toString('base64')}`,
    },
  ]);
  expect(content.warnings).toEqual([]);
  const code = Buffer.from(content.bundle.code).toString();
  expect(code).not.toContain(rig.folder);
  expect(Buffer.from(content.bundle.map).toString()).not.toContain(rig.folder);
});

test('scriptContent() gives the same bytes from another folder, working directory, mode and time', async () => {
  await using rig = await scriptFolder(project);
  await using other = await temporaryFolder();
  const folder = join(other.path, 'elsewhere', 'deeper');
  await cp(rig.folder, folder, { recursive: true });
  await chmod(join(folder, 'data/labels.txt'), 0o600);
  await utimes(join(folder, 'score.ts'), 1, 1);
  const before = process.cwd();
  const digests = [await digestFor(rig.folder)];
  process.chdir(folder);
  try {
    digests.push(await digestFor('.'));
  } finally {
    process.chdir(before);
  }
  expect(digests[1]).toBe(digests[0]);
});

test('scriptContent() takes a CommonJS script, and a package that asks where it lies', async () => {
  await using rig = await scriptFolder({
    'score.cjs': 'exports.run = () => require("where");',
    'node_modules/where/package.json': '{"name":"where","version":"1.0.0"}',
    'node_modules/where/index.js': 'module.exports = [__dirname, __filename];',
  });
  const { bundle, warnings } = await scriptContent({ path: rig.path('score.cjs'), include: [] });
  expect(Buffer.from(bundle.code).toString()).toMatch(/export \{[^}]*\brun\b/);
  expect(warnings).toEqual([expect.stringContaining('no package-lock.json holds the versions of where@1.0.0')]);
});

test('scriptContent() warns of what is required by a name that only the running script knows', async () => {
  await using rig = await scriptFolder({
    'score.js': 'export const run = (name) => import(name);\nrequire(globalThis.x);',
  });
  const { warnings } = await scriptContent({ path: rig.path('score.js'), include: [] });
  expect(warnings).toEqual([
    expect.stringMatching(/score\.js:1:\d+: .*import/),
    expect.stringMatching(/score\.js:2:\d+: .*require/),
  ]);
});

test('bundleScript() names every place that does not compile by file, line and column', async () => {
  await using rig = await scriptFolder({
    'score.ts': "import { a } from './none.ts';\nimport b from 'left-pad';\nexport const run = () => [a, b];\n",
  });
  await expect(bundleScript(rig.path('score.ts'))).rejects.toMatchObject({
    code: 'SCRIPT_INVALID',
    message: expect.stringMatching(
      /score\.ts:1:19: Could not resolve "\.\/none\.ts"; .*score\.ts:2:15: Could not resolve "left-pad"/,
    ),
    next: "Install the script's packages beside it, with `npm ci`.",
  });
});

test('bundleScript() refuses a file that is none, and one of another language', async () => {
  await using rig = await scriptFolder({ 'score.py': '', 'folder.ts/x': '' });
  await expect(bundleScript(rig.path('none.ts'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  await expect(bundleScript(rig.path('score.py'))).rejects.toThrow('it ends in ".py"');
  await expect(bundleScript(rig.path('folder.ts'))).rejects.toThrow('it is a folder, a file was wanted');
});

test('scriptContent() refuses native code, imported as it is or found by its package', async () => {
  await using rig = await scriptFolder({
    'direct.ts': "import native from './native.node';\nexport const run = () => native;\n",
    'native.node': 'ELF',
    'package.ts': "import native from 'native';\nexport const run = () => native;\n",
    'node_modules/native/package.json': '{"name":"native","version":"1.0.0"}',
    'node_modules/native/index.js': 'module.exports = require("bindings-" + process.platform);',
    'node_modules/native/prebuilds/linux-x64.node': 'ELF',
  });
  const direct = scriptContent({ path: rig.path('direct.ts'), include: [] });
  await expect(direct).rejects.toThrow(/direct\.ts:1:20: "native\.node" is native code/);
  const found = scriptContent({ path: rig.path('package.ts'), include: [] });
  await expect(found).rejects.toThrow('the package "native" holds native code ("prebuilds/linux-x64.node")');
});

test('scriptContent() refuses packages of other versions than those locked', async () => {
  await using rig = await scriptFolder({ ...project, 'package-lock.json': lockOf('1.2.4') });
  await expect(scriptContent({ path: rig.path('score.ts'), include: [] })).rejects.toMatchObject({
    code: 'SCRIPT_INVALID',
    message: expect.stringContaining('the package "double" is installed in version 1.2.3 and locked in version 1.2.4'),
    next: 'Run `npm ci` there.',
  });
});

test('scriptContent() refuses to include what is not there, lies elsewhere, is a link or would replace the script', async () => {
  await using rig = await scriptFolder({
    'app/score.ts': 'export const run = () => 1;',
    'app/score.mjs': '',
    'secret.txt': 'x',
  });
  await symlink(rig.path('secret.txt'), rig.path('app/link.txt'));
  const including = (path: string) => scriptContent({ path: rig.path('app/score.ts'), include: [path] });
  await expect(including(rig.path('app/none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  await expect(including(rig.path('secret.txt'))).rejects.toThrow(/"[^"]*secret\.txt" lies outside of/);
  await expect(including(rig.path('app/link.txt'))).rejects.toThrow(/lies outside of/);
  await expect(including(rig.path('app'))).rejects.toThrow(
    /link\.txt" is a link.*"score\.mjs" is a name of the image's own/,
  );
});

async function digestFor(folder: string): Promise<string> {
  const { entries } = await scriptContent({ path: join(folder, 'score.ts'), include: [join(folder, 'data')] });
  const pieces: Uint8Array[] = [];
  for await (const piece of tarLayer(entries)) pieces.push(piece);
  return digestOf(Buffer.concat(pieces));
}
