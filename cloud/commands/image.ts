import { type Command, InvalidArgumentError } from 'commander';
import { isFerryError } from '../../shared/errors.ts';
import { parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
import { bytesText, type CommandResult, fields, pairsText, table } from '../cli/result.ts';
import { addWork, collectPair } from '../cli/session.ts';
import { createImage } from '../images/create.ts';
import { findImage, type Image, listImages } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';

interface CreateOptions {
  readonly model: readonly VersionedName[];
  readonly name?: string;
  readonly platform?: string;
  readonly description?: string;
  readonly tag?: Record<string, string>;
}

/** Adds the verbs of `ferry image`. */
export function addImageVerbs(noun: Command): void {
  const create = noun
    .command('create')
    .description('build the scoring image of one or more models, without a Docker daemon')
    .requiredOption('--model <model>', 'NAME or NAME:VERSION, may be given several times', collectModel)
    .option('--name <name>', "the image's name (default: the model's)")
    .option('--platform <platform>', "linux/amd64 or linux/arm64 (default: this machine's)")
    .option('--description <text>', 'what it is')
    .option('--tag <key=value>', 'a tag, may be given several times', collectPair);
  addWork<CreateOptions>(create, async (session, options) => {
    const workspace = await session.openWorkspace();
    const { model: models, tag: tags = {}, ...rest } = options;
    const { image, created, bytesBuilt } = await createImage(
      workspace,
      { models, tags, ...rest },
      { signal: session.signal },
    );
    const { json, text } = describe(workspace, image);
    return {
      json: { ...json, created, bytesBuilt },
      text: `${text}\n${created ? `Built ${bytesText(bytesBuilt)}.` : 'Nothing to do: the latest version has this content.'}`,
    };
  });

  addWork(noun.command('list').description('list all images'), async (session) => {
    const workspace = await session.openWorkspace();
    const images = listImages(workspace.database);
    return {
      json: images.map((image) => documentOf(workspace, image)),
      text: table(
        ['image', 'models', 'platform', 'created', 'tags'],
        images.map((image) => [
          idOf(image),
          image.models.join(', '),
          image.platform,
          image.createdAt,
          pairsText(image.tags),
        ]),
      ),
    };
  });

  const show = noun
    .command('show')
    .description('show an image with its layers')
    .argument('<image>', 'NAME or NAME:VERSION; without a version the latest one');
  addWork(show, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    return describe(workspace, findImage(workspace.database, parseVersionedName(text)));
  });
}

/** Reads an option that names a model and may be given several times; for `commander`'s option parser. */
function collectModel(text: string, before: readonly VersionedName[] = []): readonly VersionedName[] {
  try {
    return [...before, parseVersionedName(text)];
  } catch (error) {
    throw isFerryError(error, 'NAME_INVALID') ? new InvalidArgumentError(error.message) : error;
  }
}

function describe(
  workspace: Workspace,
  image: Image,
): CommandResult & { readonly json: ReturnType<typeof documentOf> } {
  const document = documentOf(workspace, image);
  return {
    json: document,
    text: fields({
      image: idOf(image),
      reference: document.reference,
      platform: image.platform,
      models: image.models.join(', '),
      description: image.description || undefined,
      tags: pairsText(image.tags) || undefined,
      properties: pairsText(image.properties) || undefined,
      layers: image.layers
        .map(({ kind, model, sizeBytes, digest }) =>
          `${digest}  ${bytesText(sizeBytes)}  ${kind} ${model ?? ''}`.trimEnd(),
        )
        .join('\n'),
      created: image.createdAt,
    }),
  };
}

function documentOf(workspace: Workspace, image: Image): Image & { readonly id: string; readonly reference: string } {
  const { registry } = workspace.config.endpoints;
  const place = registry === undefined ? image.name : `${registry}/${image.name}`;
  return { id: idOf(image), reference: `${place}@${image.digest}`, ...image };
}

function idOf({ name, version }: Image): string {
  return `${name}:${version}`;
}
