import type { Command } from 'commander';
import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { addWork } from '../cli/session.ts';
import { importV1 } from '../deploy/import-v1.ts';

interface ImportFlags {
  readonly deploymentConfig: string;
  readonly inferenceConfig?: string;
  readonly name?: string;
}

/** Adds `ferry service import`. */
export function addImport(noun: Command): void {
  const importing = noun
    .command('import')
    .description("print the service.yaml that Azure ML v1's files come to, for ferry apply")
    .requiredOption('--deployment-config <file>', 'deploymentconfig.json')
    .option('--inference-config <file>', 'inferenceconfig.json')
    .option('--name <name>', 'name of the service, and of its model', 'my-service');
  addWork<ImportFlags>(importing, async (session, { deploymentConfig, inferenceConfig, name }) => {
    const inference = inferenceConfig === undefined ? undefined : await readJson(inferenceConfig);
    const { file, notes } = importV1(await readJson(deploymentConfig), inference);
    for (const note of notes) session.note(`note: ${note}`);
    const document = { name, ...file, models: [{ path: 'model.onnx', name }] };
    return { json: { file: document, notes }, text: stringify(document).trimEnd() };
  });
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const isMissing = systemCodeOf(cause) === 'ENOENT';
    throw new FerryError(
      isMissing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE',
      `Cannot read "${path}": ${systemCodeOf(cause)}`,
      { cause },
    );
  });
  try {
    return JSON.parse(text);
  } catch {
    throw new FerryError('CONFIG_INVALID', `Cannot read "${path}": it is no JSON`);
  }
}
