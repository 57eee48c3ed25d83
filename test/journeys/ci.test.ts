import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { findProgram } from '../../shared/programs.ts';
import { digitsFile } from '../cloud/workspace-rig.ts';
import { runFerry } from '../ferry.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const ci = fileURLToPath(new URL('../../cloud/ci/', import.meta.url));

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: { readonly deploy: { readonly steps: readonly { readonly run?: string }[] } };
}

interface Pipeline {
  readonly steps: readonly { readonly inputs?: { readonly inlineScript?: string } }[];
}

/** A checkout as the pipeline would have it, with a workspace; `npx ferry` is this checkout's. */
async function openCheckout() {
  const folder = await temporaryFolder();
  const [repository, workspace, bin] = ['repository', 'workspace', 'bin'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [repository, workspace, bin]) await mkdir(path);
  await copyFile(digitsFile, join(repository, 'model.onnx'));
  await writeFile(join(repository, 'rows.json'), JSON.stringify({ data: [Array.from({ length: 64 }, () => 1)] }));
  await writeFile(
    join(repository, 'service.yaml'),
    'name: digits\ntarget: local\nmodels: [{ path: model.onnx, name: digits, sample: rows.json }]\n',
  );
  const shim = `#!/bin/sh\nshift\nexec "${process.execPath}" "${findProgram('ferry').path}" "$@"\n`;
  await writeFile(join(bin, 'npx'), shim);
  await chmod(join(bin, 'npx'), 0o755);
  await runFerry(['workspace', 'init'], { cwd: workspace });
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env['PATH']}`,
    FERRY_WORKSPACE: workspace,
    FERRY_TARGET: 'local',
  };
  const run = async (script: string): Promise<{ code: number | null; output: string }> => {
    const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', script], {
      cwd: repository,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = once(child, 'close') as Promise<[number | null]>;
    const [stdout, stderr, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), closed]);
    return { code, output: `${stdout}${stderr}` };
  };
  return {
    repository,
    run,
    [Symbol.asyncDispose]: async () => {
      await runFerry(['service', 'delete', 'digits'], { cwd: workspace });
      await folder[Symbol.asyncDispose]();
    },
  };
}

test('the steps of the GitHub workflow deploy a model, and do nothing when they are run again', async () => {
  const workflow = parse(await readFile(join(ci, 'github-actions.yml'), 'utf8')) as Workflow;
  expect(workflow.permissions['id-token']).toBe('write');
  const steps = workflow.jobs.deploy.steps.flatMap(({ run }) => (run === undefined || run === 'npm ci' ? [] : [run]));
  expect(steps).toHaveLength(4);
  await using checkout = await openCheckout();
  for (const changed of [true, false]) {
    for (const step of steps) {
      expect(await checkout.run(step)).toMatchObject({ code: 0 });
    }
    const pushed: unknown = JSON.parse(await readFile(join(checkout.repository, 'pushed.json'), 'utf8'));
    expect(pushed).toMatchObject({ changed, image: 'digits:1', service: { state: 'Healthy' } });
    const answer: unknown = JSON.parse(await readFile(join(checkout.repository, 'answer.json'), 'utf8'));
    expect(answer).toHaveProperty('label');
  }
}, 180_000);

test('the steps of the Azure pipeline deploy a model, and fail with what is wrong', async () => {
  const pipeline = parse(await readFile(join(ci, 'azure-pipelines.yml'), 'utf8')) as Pipeline;
  const steps = pipeline.steps.flatMap(({ inputs }) => inputs?.inlineScript ?? []);
  expect(steps).toHaveLength(2);
  await using checkout = await openCheckout();
  for (const step of steps) {
    expect(await checkout.run(step)).toMatchObject({ code: 0 });
  }
  await writeFile(join(checkout.repository, 'model.onnx'), 'no model');
  const { code, output } = await checkout.run(steps[0] ?? '');
  expect(code).toBe(1);
  expect(output).toContain('error MODEL_INVALID');
}, 180_000);
