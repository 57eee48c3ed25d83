import { expect, test } from 'vitest';
import { checkExports } from '../../../../cloud/images/script/check-exports.ts';
import { scriptContent } from '../../../../cloud/images/script/script-content.ts';
import { scriptFolder } from './script-rig.ts';

test('checkExports() lets a script through that declares what it takes and reads a file beside it', async () => {
  await expect(
    check({
      'score.ts': `import { readFileSync } from 'node:fs';
const labels = readFileSync(new URL('./data/labels.txt', import.meta.url), 'utf8');
export const inputs = [{ name: 'x', type: 'float32', shape: ['n', 2] }];
export const init = async (): Promise<void> => {};
export function run(): string { return labels; }
console.log('printed by the script');
`,
      'data/labels.txt': 'one',
    }),
  ).resolves.toBeUndefined();
});

test.each<[string, string, RegExp]>([
  [
    'exports no run',
    'const x = 1;\nexport const predict = () => x;\n',
    /score\.ts:1: it exports "predict", a function "run" was wanted/,
  ],
  [
    'declares run and does not export it',
    '\n\nfunction run() {}\nexport const init = run;\n',
    /score\.ts:3: it exports "init", a function "run"/,
  ],
  ['exports nothing', 'const x: number = 1;\nx;\n', /it exports nothing, a function "run" was wanted/],
  [
    'exports a run that is no function',
    '\nexport const run = 5;\n',
    /score\.ts:2: it exports "run" as number, a function was wanted/,
  ],
  [
    'exports an init that is no function',
    'export const run = () => 1;\nexport const init = {};\n',
    /score\.ts:2: it exports "init" as object/,
  ],
  [
    'is raw and has inputs',
    "export const run = () => 1;\nexport const raw = true;\nexport const inputs = [{ name: 'x', type: 'bool', shape: [] }];\n",
    /score\.ts:2: it has "inputs" and is raw/,
  ],
  [
    'declares a type that there is not',
    "export const run = () => 1;\nexport const inputs = [{ name: 'x', type: 'float31', shape: [] }];\n",
    /score\.ts:2: inputs\.0\.type/,
  ],
  [
    'throws when it is loaded',
    "export const run = () => 1;\n\nJSON.parse('nope');\n",
    /score\.ts:3:\d+: .*not valid JSON/,
  ],
  ['ends its process', 'export const run = () => 1;\nprocess.exit(7);\n', /loading it ended with exit code 7/],
])('checkExports() refuses a script that %s', async (_what, script, message) => {
  await expect(check({ 'score.ts': script })).rejects.toMatchObject({
    code: 'SCRIPT_INVALID',
    message: expect.stringMatching(message),
  });
});

test('checkExports() ends a script that never ends', async () => {
  await expect(check({ 'score.ts': 'for (;;);\nexport const run = () => 1;\n' }, 500)).rejects.toThrow(
    'it was not loaded after 500 ms, the longest it may take',
  );
});

async function check(files: Readonly<Record<string, string>>, timeoutMs?: number): Promise<void> {
  await using rig = await scriptFolder(files);
  const include = Object.keys(files).filter((name) => name.startsWith('data/'));
  const { bundle, included } = await scriptContent({
    path: rig.path('score.ts'),
    include: include.map((name) => rig.path(name)),
  });
  await checkExports(bundle, { included, ...(timeoutMs !== undefined && { timeoutMs }) });
}
