import { type Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import { isFerryError } from '../../shared/errors.ts';
import { parseFullName, parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
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
import { type CreatedImage, createImage } from '../images/create.ts';
import { findImage, type Image, listImages } from '../images/image.ts';
import { removeImage } from '../images/remove.ts';
import { updateLabels } from '../models/label-store.ts';
import type { Workspace } from '../workspace/workspace.ts';

interface CreateOptions {
  readonly model: readonly VersionedName[];
  readonly name?: string;
  readonly platform?: string;
  readonly description?: string;
  readonly tag?: Record<string, string>;
}

interface ImageListOptions extends ListOptions {
  readonly model?: string;
  readonly digest?: string;
}

const versionedNameText = 'NAME or NAME:VERSION; without a version the latest one';

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
    using progress = startProgress('Pushing', { format: bytesText });
    const result = await createImage(
      workspace,
      { models, tags, ...rest },
      { signal: session.signal, onProgress: (done, total) => progress.update(done, total) },
    );
    const { json, text } = describe(workspace, result.image);
    const { created, bytesBuilt, push } = result;
    return { json: { ...json, created, bytesBuilt, push: push ?? null }, text: `${text}\n${outcomeText(result)}` };
  });

  const list = addListOptions(noun.command('list').description('list images'))
    .option('--model <model>', 'only those that hold this model, NAME or NAME:VERSION')
    .option('--digest <digest>', 'only the one of this digest');
  addWork<ImageListOptions>(list, async (session, options) => {
    const workspace = await session.openWorkspace();
    const { model, digest } = options;
    const images = listImages(workspace.database, {
      ...listFilter(options),
      ...(model !== undefined && { model: parseVersionedName(model) }),
      ...(digest !== undefined && { digest }),
    });
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

  const show = noun.command('show').description('show an image with its layers').argument('<image>', versionedNameText);
  addWork(show, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    return describe(workspace, findImage(workspace.database, parseVersionedName(text)));
  });

  const update = noun.command('update').description('change tags, add properties, change the description');
  addWork<UpdateOptions>(
    addUpdateOptions(update.argument('<image>', versionedNameText)),
    async (session, options, [text = '']) => {
      const workspace = await session.openWorkspace();
      const { database } = workspace;
      const wanted = parseVersionedName(text);
      const image = updateLabels(database, {
        table: 'images',
        find: () => findImage(database, wanted),
        change: labelChange(options),
        clock: systemClock,
      });
      return describe(workspace, image);
    },
  );

  const remove = noun
    .command('delete')
    .description('delete an image that no service uses')
    .argument('<image>', 'NAME:VERSION');
  addWork(remove, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const image = await removeImage(workspace, parseFullName(text));
    return { json: { id: idOf(image), deleted: true }, text: `Deleted ${idOf(image)}.` };
  });
}

function outcomeText({ created, bytesBuilt, push }: CreatedImage): string {
  const built = created ? `Built ${bytesText(bytesBuilt)}` : 'Nothing to build, the latest version has this content';
  if (push === undefined) return `${built}.`;
  const { bytesPushed, bytesMounted, bytesPresent } = push;
  const there = `${bytesText(bytesMounted)} mounted, ${bytesText(bytesPresent)} there already`;
  return `${built}; pushed ${bytesText(bytesPushed)} (${there}).`;
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
