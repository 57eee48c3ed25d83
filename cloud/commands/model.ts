import { type Command, Option } from 'commander';
import { addListOptions, listFilter, type ListOptions } from './label-options.ts';
import { modelContents } from './model-contents.ts';
import { lineageOf, registerShown } from './register-model.ts';
import { addDelete, addShow, addUpdate, idOf, versionedNameText, type VersionedThing } from './versioned-verbs.ts';
import { type CommandResult, pairsText } from '../cli/result.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';
import { addWork, collectPair } from '../cli/session.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import type { TensorSpec } from '../../shared/model/signature.ts';
import { downloadModel } from '../models/download.ts';
import { frameworks, type Lineage, lineageProperties } from '../models/lineage.ts';
import { artifactOf, findModel, listModels, type Model } from '../models/model.ts';
import type { Registration } from '../models/register.ts';
import { imagesOf, removeModel } from '../models/remove.ts';
import type { Sample } from '../models/sample.ts';
import type { Workspace } from '../workspace/workspace.ts';

interface RegisterOptions {
  readonly name: string;
  readonly main?: string;
  readonly load: boolean;
  readonly push: boolean;
  readonly framework?: Lineage['framework'];
  readonly frameworkVersion?: string;
  readonly experiment?: string;
  readonly runId?: string;
  readonly gitCommit?: string;
  readonly git: boolean;
  readonly dataset?: Record<string, string>;
  readonly sample?: string;
  readonly description?: string;
  readonly tag?: Record<string, string>;
  readonly property?: Record<string, string>;
}

interface DownloadOptions {
  readonly target: string;
  readonly overwrite?: boolean;
}

const thing: VersionedThing<Model> = {
  noun: 'model',
  table: 'models',
  texts: { show: 'a model with its signature', delete: 'a model that no image uses' },
  find: findModel,
  usersOf: imagesOf,
  remove: removeModel,
  describe,
  contents: modelContents,
};

/** Adds the verbs of `ferry model`. */
export function addModelVerbs(noun: Command): void {
  addRegister(noun);
  addList(noun);
  addShow(noun, thing);
  addUpdate(noun, thing);
  addDownload(noun);
  addDelete(noun, thing);
}

function addRegister(noun: Command): void {
  const register = noun
    .command('register')
    .description('register an ONNX file, or a folder with one, as the next version of a model')
    .argument('<path>', 'the ONNX file, with the files that hold its weights beside it, or the folder')
    .requiredOption('--name <name>', "the model's name")
    .option('--main <file>', 'the ONNX file in the folder (default: the only one)')
    .addOption(new Option('--framework <name>', 'what it was made with').choices(frameworks))
    .option('--framework-version <version>', 'version of the framework')
    .option('--experiment <name>', 'the experiment that made it')
    .option('--run-id <id>', 'the run that made it')
    .option(
      '--git-commit <commit>',
      'commit of the code that made it (default: what Git says of the folder of the file, or of this one)',
    )
    .option('--no-git', 'do not ask Git')
    .option('--dataset <use=id>', 'data it was made with, as training=ID, may be given several times', collectPair)
    .option('--sample <file>', 'a JSON file with a request to score it: {"<input>": [[…]]}; smoke tests send it')
    .option('--no-load', 'do not have ONNX Runtime load it once and score the sample, where memory is short')
    .option('--no-push', "do not push it to the workspace's registry yet; its first image does")
    .option('--description <text>', 'what it is')
    .option('--tag <key=value>', 'a tag, may be given several times', collectPair)
    .option('--property <key=value>', 'a property, which stays for good, may be given several times', collectPair);
  addWork<RegisterOptions>(register, async (session, options, [path = '']) => {
    const workspace = await session.openWorkspace();
    const { load, push } = options;
    const model = await registerShown({ session, workspace }, await registrationOf(path, options), { load, push });
    return describe(workspace, model);
  });
}

async function registrationOf(path: string, options: RegisterOptions): Promise<Registration> {
  const { framework, frameworkVersion, experiment, runId, gitCommit, git, dataset: datasets } = options;
  const lineage = await lineageOf(path, { framework, frameworkVersion, experiment, runId, gitCommit, git, datasets });
  const { name, main, sample, description, tag: tags = {}, property: properties = {} } = options;
  return {
    path,
    name,
    lineage,
    tags,
    properties,
    ...(main !== undefined && { main }),
    ...(sample !== undefined && { sample }),
    ...(description !== undefined && { description }),
  };
}

function addList(noun: Command): void {
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
}

function addDownload(noun: Command): void {
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
}

function describe(
  workspace: Workspace,
  model: Model,
  usedBy: readonly string[] = [],
): CommandResult & { readonly json: ReturnType<typeof documentOf> } {
  const { producer, opsets, irVersion } = model.metadata;
  const document = documentOf(workspace, model);
  const lineage = lineageProperties(model.lineage);
  const others = Object.entries(model.properties).filter(([key]) => !Object.hasOwn(lineage, key));
  return {
    json: document,
    text: fields({
      model: idOf(model),
      digest: model.digest,
      size: bytesText(model.sizeBytes),
      description: model.description || undefined,
      tags: pairsText(model.tags) || undefined,
      properties: pairsText(Object.fromEntries(others)) || undefined,
      inputs: model.signature.inputs.map(tensorText).join('\n') || undefined,
      outputs: model.signature.outputs.map(tensorText).join('\n'),
      opsets: pairsText(
        Object.fromEntries(Object.entries(opsets).map(([domain, version]) => [domain, String(version)])),
      ),
      'IR version': irVersion,
      producer: `${producer.name} ${producer.version}`.trim() || undefined,
      metadata: pairsText(model.metadata.custom) || undefined,
      lineage: pairsText(lineage) || undefined,
      sample: model.sample === null ? undefined : sampleText(model.sample),
      'used by': usedBy.join(', ') || undefined,
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

/** A sample is shown this wide at most; `--json` has all of it. */
const sampleColumns = 80;

function sampleText({ input, output }: Sample): string {
  const shown = (value: unknown): string => JSON.stringify(value).slice(0, sampleColumns);
  return `${shown(input)}\n${output === null ? 'not scored' : shown(output)}`;
}

function tensorText({ name, type, shape }: TensorSpec): string {
  return `${name} ${type}[${shape.join(', ')}]`;
}
