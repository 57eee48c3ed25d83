import type { Command } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import {
  addListOptions,
  addUpdateOptions,
  labelChange,
  listFilter,
  type ListOptions,
  type UpdateOptions,
} from './label-options.ts';
import { startProgress } from '../cli/progress.ts';
import { bytesText, type CommandResult, fields, pairsText, table } from '../cli/result.ts';
import { addWork, collectPair } from '../cli/session.ts';
import { parseFullName, parseVersionedName } from '../../shared/model/name.ts';
import type { TensorSpec } from '../../shared/model/signature.ts';
import { downloadModel } from '../models/download.ts';
import { updateLabels } from '../models/label-store.ts';
import { artifactOf, findModel, listModels, type Model } from '../models/model.ts';
import { registerModel } from '../models/register.ts';
import { removeModel } from '../models/remove.ts';
import type { Workspace } from '../workspace/workspace.ts';

interface RegisterOptions {
  readonly name: string;
  readonly main?: string;
  readonly load: boolean;
  readonly description?: string;
  readonly tag?: Record<string, string>;
  readonly property?: Record<string, string>;
}

interface DownloadOptions {
  readonly target: string;
  readonly overwrite?: boolean;
}

const versionedNameText = 'NAME or NAME:VERSION; without a version the latest one';

/** Adds the verbs of `ferry model`. */
export function addModelVerbs(noun: Command): void {
  const register = noun
    .command('register')
    .description('register an ONNX file, or a folder with one, as the next version of a model')
    .argument('<path>', 'the ONNX file, with the files that hold its weights beside it, or the folder')
    .requiredOption('--name <name>', "the model's name")
    .option('--main <file>', 'the ONNX file in the folder (default: the only one)')
    .option('--no-load', 'do not have ONNX Runtime load it once, where memory is short')
    .option('--description <text>', 'what it is')
    .option('--tag <key=value>', 'a tag, may be given several times', collectPair)
    .option('--property <key=value>', 'a property, which stays for good, may be given several times', collectPair);
  addWork<RegisterOptions>(register, async (session, options, [path = '']) => {
    const workspace = await session.openWorkspace();
    using progress = startProgress(`Packing ${options.name}`, { format: bytesText });
    const { tag: tags = {}, property: properties = {}, load, ...rest } = options;
    const model = await registerModel(
      workspace,
      { path, tags, properties, ...rest },
      { load, signal: session.signal, onProgress: (done, total) => progress.update(done, total) },
    );
    return describe(workspace, model);
  });

  addWork<ListOptions>(addListOptions(noun.command('list').description('list models')), async (session, options) => {
    const workspace = await session.openWorkspace();
    const models = listModels(workspace.database, listFilter(options));
    return {
      json: models.map((model) => documentOf(workspace, model)),
      text: table(
        ['model', 'size', 'created', 'tags'],
        models.map((model) => [idOf(model), bytesText(model.sizeBytes), model.createdAt, pairsText(model.tags)]),
      ),
    };
  });

  const show = noun
    .command('show')
    .description('show a model with its signature')
    .argument('<model>', versionedNameText);
  addWork(show, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    return describe(workspace, findModel(workspace.database, parseVersionedName(text)));
  });

  const update = noun.command('update').description('change tags, add properties, change the description');
  addWork<UpdateOptions>(
    addUpdateOptions(update.argument('<model>', versionedNameText)),
    async (session, options, [text = '']) => {
      const workspace = await session.openWorkspace();
      const { database } = workspace;
      const wanted = parseVersionedName(text);
      const model = updateLabels(database, {
        table: 'models',
        find: () => findModel(database, wanted),
        change: labelChange(options),
        clock: systemClock,
      });
      return describe(workspace, model);
    },
  );

  const download = noun
    .command('download')
    .description("write a model's files into a folder")
    .argument('<model>', versionedNameText)
    .option('--target <folder>', 'the folder', '.')
    .option('--overwrite', 'replace files that are there already');
  addWork<DownloadOptions>(download, async (session, options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const model = findModel(workspace.database, parseVersionedName(text));
    const files = await downloadModel(workspace, model, { ...options, signal: session.signal });
    return { json: { id: idOf(model), files }, text: files.join('\n') };
  });

  const remove = noun
    .command('delete')
    .description('delete a model that no image uses')
    .argument('<model>', 'NAME:VERSION');
  addWork(remove, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const model = await removeModel(workspace, parseFullName(text));
    return { json: { id: idOf(model), deleted: true }, text: `Deleted ${idOf(model)}.` };
  });
}

function describe(workspace: Workspace, model: Model): CommandResult {
  const { producer, opsets, irVersion } = model.metadata;
  const document = documentOf(workspace, model);
  return {
    json: document,
    text: fields({
      model: idOf(model),
      digest: model.digest,
      size: bytesText(model.sizeBytes),
      description: model.description || undefined,
      tags: pairsText(model.tags) || undefined,
      properties: pairsText(model.properties) || undefined,
      inputs: model.signature.inputs.map(tensorText).join('\n') || undefined,
      outputs: model.signature.outputs.map(tensorText).join('\n'),
      opsets: pairsText(
        Object.fromEntries(Object.entries(opsets).map(([domain, version]) => [domain, String(version)])),
      ),
      'IR version': irVersion,
      producer: `${producer.name} ${producer.version}`.trim() || undefined,
      metadata: pairsText(model.metadata.custom) || undefined,
      created: model.createdAt,
      artifact: document.artifact.reference,
    }),
  };
}

function documentOf(
  workspace: Workspace,
  model: Model,
): Model & {
  readonly id: string;
  readonly artifact: ReturnType<typeof artifactOf> & { readonly reference: string };
} {
  const artifact = artifactOf(model);
  const { repository, tag, digest } = artifact;
  const { registry } = workspace.config.endpoints;
  const place = registry === undefined ? repository : `${registry}/${repository}`;
  return {
    id: idOf(model),
    ...model,
    artifact: { ...artifact, reference: `${place}:${tag}@${digest}` },
  };
}

function idOf({ name, version }: Model): string {
  return `${name}:${version}`;
}

function tensorText({ name, type, shape }: TensorSpec): string {
  return `${name} ${type}[${shape.join(', ')}]`;
}
