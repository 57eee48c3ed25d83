import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { exportContext } from '../../../cloud/images/export-context.ts';
import type { Image } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { ProcessEngine } from '../../../shared/containers/process/process-engine.ts';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { dockerAnswers } from '../../docker.ts';
import { runCommand } from '../../shared/oci/commands.ts';
import { until } from '../../until.ts';
import { digitsFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';
import { doublePackage, lockOf, writeFiles } from './script/script-rig.ts';

const onLinux = process.platform === 'linux';
const log = createLogger('test', { level: 'silent' });

const script = `import { readFileSync } from 'node:fs';
import double from 'double';

interface Input { readonly pixels: readonly number[] }
let names: string[] = [];

export function init(): void {
  names = readFileSync(new URL('./data/names.txt', import.meta.url), 'utf8').trim().split('\\n');
}

export async function run(input: Input, { models }: { models: Record<string, any> }): Promise<unknown> {
  if (input.pixels === undefined) throw new TypeError('there are no pixels');
  const { label } = await models.digits.run({ pixels: { shape: [1, 64], data: Float32Array.from(input.pixels) } });
  return { name: names[Number(label.data[0])], twice: double(21), dataFolder: process.env.MODELFERRY_DATA_DIR };
}
`;

let rig: WorkspaceRig;
let image: Image;

beforeAll(async () => {
  if (!onLinux) return;
  rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const project = join(rig.folder, 'project');
  const names = Array.from({ length: 10 }, (_, digit) => `digit ${digit}`).join('\n');
  await writeFiles(project, {
    'score.ts': script,
    'data/names.txt': names,
    'package-lock.json': lockOf('1.2.3'),
    ...doublePackage,
  });
  const created = await createImage(rig.workspace, {
    models: [{ name: 'digits' }],
    script: join(project, 'score.ts'),
    include: [join(project, 'data')],
    flavor: 'edge',
  });
  image = created.image;
}, 120_000);

afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

test.runIf(onLinux)('an image with a script runs as a process, and its log names the line that failed', async () => {
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  const dataFolder = join(rig.folder, 'data');
  await mkdir(dataFolder);
  await using engine = await ProcessEngine.open({ layout, folder: join(rig.folder, 'engine'), log });
  await engine.prepareImage(image.digest);
  const environment = { MODELFERRY_PORT: '0', MODELFERRY_HOST: '127.0.0.1', WORKER_COUNT: '1' };
  await engine.create({ name: 'scored', image: image.digest, environment, settings: {}, dataFolder, labels: {} });
  await engine.start('scored');
  try {
    const ready = await until(
      async () => /"port":(\d+).*"msg":"ready"/.exec(await engine.logs('scored')) ?? undefined,
      {
        what: 'the scoring server',
      },
    );
    const address = `http://127.0.0.1:${ready[1]}`;
    expect(await score(address)).toEqual({ name: expect.stringMatching(/^digit \d$/), twice: 42, dataFolder });
    const failed = await fetch(`${address}/score`, { method: 'POST', body: '{}' });
    expect(failed.status).toBe(500);
    await until(async () => /app\/score\.ts:12:\d+/.test(await engine.logs('scored')), {
      what: 'the line in the log',
    });
  } finally {
    await engine.stop('scored', { graceMs: 5_000 });
    await engine.remove('scored');
  }
});

test.runIf(onLinux && dockerAnswers)(
  'a Dockerfile with its context builds an image that Docker runs read-only, scores and finds healthy',
  async () => {
    const context = join(rig.folder, 'context');
    await exportContext(rig.workspace, image, { output: context });
    const tag = `modelferry-test-${process.pid}`;
    await runCommand('docker', ['build', '--quiet', '--tag', tag, context]);
    const strict = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--user', '4321:4321'];
    const run = ['run', '--detach', ...strict, '--publish', '127.0.0.1::5001', tag];
    const container = (await runCommand('docker', run)).trim();
    try {
      const port = (await runCommand('docker', ['port', container, '5001/tcp'])).trim().split(':').at(-1);
      const address = `http://127.0.0.1:${port}`;
      await until(async () => (await fetch(address)).ok, { what: 'the scoring server' });
      expect(await score(address)).toMatchObject({ twice: 42, dataFolder: '/var/modelferry/data' });
      const described: unknown = JSON.parse(await runCommand('docker', ['inspect', container]));
      const [{ Config: config }] = described as [{ Config: { Healthcheck: { Test: string[] }; Labels: object } }];
      const [, ...check] = config.Healthcheck.Test;
      await runCommand('docker', ['exec', container, ...check]);
      expect(config.Labels).toMatchObject({
        'org.opencontainers.image.title': 'digits',
        'vnd.modelferry.flavor': 'edge',
      });
    } finally {
      await runCommand('docker', ['rm', '--force', '--volumes', container]);
      await runCommand('docker', ['rmi', '--no-prune', tag]);
    }
  },
  120_000,
);

async function score(address: string): Promise<unknown> {
  const pixels = Array.from({ length: 64 }, (_, index) => index % 16);
  const response = await fetch(`${address}/score`, { method: 'POST', body: JSON.stringify({ pixels }) });
  expect(response.status).toBe(200);
  return response.json();
}
