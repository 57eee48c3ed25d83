import { type Command, InvalidArgumentError, Option } from 'commander';
import { isFerryError } from '../../shared/errors.ts';
import { parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
import { bytesText } from '../../shared/text-layout.ts';
import { startProgress } from '../cli/progress.ts';
import { addWork, collectPair, type Session } from '../cli/session.ts';
import { type CreatedImage, createImage } from '../images/create.ts';
import { flavors } from '../images/flavor.ts';
import { checkRequest, findModels, type ImageRequest } from '../images/image-request.ts';
import type { Registration } from '../models/register.ts';
import { type RegisteredOnce, registerOnce } from '../models/register-once.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { describeImage } from './image-text.ts';
import { readModelFiles } from './model-file-option.ts';
import { lineageOf, registerShown } from './register-model.ts';

/** What is asked of the image, and what may be given several times under a name for one. */
interface CreateOptions extends Omit<ImageRequest, 'labels' | 'models' | 'properties' | 'tags'> {
  readonly model?: readonly VersionedName[];
  readonly modelFile?: readonly string[];
  readonly sample?: string;
  readonly label?: Record<string, string>;
  readonly tag?: Record<string, string>;
  readonly property?: Record<string, string>;
}

/** Adds `ferry image create`. */
export function addCreate(noun: Command): void {
  const create = noun
    .command('create')
    .description('build the scoring image of one or more models, without a Docker daemon')
    .option('--model <model>', 'NAME or NAME:VERSION, may be given several times', collectModel)
    .option(
      '--model-file <path>',
      'PATH or NAME=PATH: an ONNX file, or a folder with one, that is registered first where its latest version is another; may be given several times',
      collectText,
    )
    .option('--sample <file>', 'a JSON file with a request to score the model of the one --model-file')
    .option('--script <file>', 'TypeScript or JavaScript that exports run() and init(), bundled with its npm packages')
    .option(
      '--include <path>',
      'a file or folder beside the script that it reads, may be given several times',
      collectText,
    )
    .option('--name <name>', "the image's name (default: the model's)")
    .option('--platform <platforms>', "linux/amd64, linux/arm64, or both with a comma (default: this machine's)")
    .option('--base <image>', "an image with Node to build upon (default: this machine's Node and libraries)")
    .option('--optimize', "optimise the models' graphs once, now, for this machine's kind of processor")
    .addOption(
      new Option('--flavor <flavor>', 'a host of its own, a gateway, or an accelerator (default: web)').choices(
        flavors,
      ),
    )
    .option('--label <key=value>', 'a label in the image itself, may be given several times', collectPair)
    .option('--description <text>', 'what it is')
    .option('--tag <key=value>', 'a tag, may be given several times', collectPair)
    .option('--property <key=value>', 'a property, which stays for good; may be given several times', collectPair);
  addWork<CreateOptions>(create, async (session, options) => {
    const workspace = await session.openWorkspace();
    const {
      model: models = [],
      modelFile = [],
      sample,
      tag: tags,
      property: properties,
      label: labels,
      ...rest
    } = options;
    const given = {
      models,
      ...(tags && { tags }),
      ...(properties && { properties }),
      ...(labels && { labels }),
      ...rest,
    };
    const files = await readModelFiles(modelFile, { models, sample });
    const { request, registered } = await registerFiles({ session, workspace }, given, files);
    using progress = startProgress('Pushing', { format: bytesText });
    const result = await createImage(workspace, request, {
      signal: session.signal,
      onProgress: (done, total) => progress.update(done, total),
    });
    const { created, bytesBuilt, push, warnings } = result;
    for (const warning of warnings) session.note(`warning: ${warning}`);
    const { json, text } = describeImage(workspace, result.image);
    const lines = [...(registered.length > 0 ? [`Registered ${registered.join(', ')}.`] : []), outcomeText(result)];
    return {
      json: { ...json, registered, created, bytesBuilt, push: push ?? null, warnings },
      text: [text, ...lines].join('\n'),
    };
  });
}

/** Registers the models of files that are not the latest versions already, and gives the request for an image of these too. */
async function registerFiles(
  where: { readonly session: Session; readonly workspace: Workspace },
  request: ImageRequest,
  files: readonly Registration[],
): Promise<{ readonly request: ImageRequest } & Pick<RegisteredOnce, 'registered'>> {
  if (files.length === 0) return { request, registered: [] };
  const { workspace } = where;
  // Before a model is registered for it.
  checkRequest({ ...request, models: [...request.models, ...files] });
  findModels(workspace.database, request.models);
  // The artifacts are pushed with the image.
  const { models, registered } = await registerOnce(workspace, files, async (file, unless) =>
    registerShown(where, { ...file, lineage: await lineageOf(file.path) }, { ...unless, pushesLayerOnly: true }),
  );
  return { request: { ...request, models: [...request.models, ...models] }, registered };
}

function outcomeText({ created, bytesBuilt, push }: CreatedImage): string {
  const built = created ? `Built ${bytesText(bytesBuilt)}` : 'Nothing to build, the latest version has this content';
  if (push === undefined) return `${built}.`;
  const { bytesPushed, bytesMounted, bytesPresent } = push;
  const there = `${bytesText(bytesMounted)} mounted, ${bytesText(bytesPresent)} there already`;
  return `${built}; pushed ${bytesText(bytesPushed)} (${there}).`;
}

/** Reads an option that is a text and may be given several times; for `commander`'s option parser. */
function collectText(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** Reads an option that names a model and may be given several times; for `commander`'s option parser. */
function collectModel(text: string, before: readonly VersionedName[] = []): readonly VersionedName[] {
  try {
    return [...before, parseVersionedName(text)];
  } catch (error) {
    throw isFerryError(error, 'NAME_INVALID') ? new InvalidArgumentError(error.message) : error;
  }
}
