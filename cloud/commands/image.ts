import { type Command, InvalidArgumentError } from 'commander';
import { isFerryError } from '../../shared/errors.ts';
import { parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
import { addListOptions, listFilter, type ListOptions } from './label-options.ts';
import { addDelete, addShow, addUpdate, idOf, versionedNameText, type VersionedThing } from './versioned-verbs.ts';
import { startProgress } from '../cli/progress.ts';
import { type CommandResult, pairsText } from '../cli/result.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';
import { addWork, collectPair } from '../cli/session.ts';
import { type CreatedImage, createImage } from '../images/create.ts';
import { exportImage } from '../images/export.ts';
import { findImage, type Image, type ImageLayer, listImages } from '../images/image.ts';
import { removeImage, servicesOf } from '../images/remove.ts';
import type { Workspace } from '../workspace/workspace.ts';

interface CreateOptions {
  readonly model: readonly VersionedName[];
  readonly name?: string;
  readonly platform?: string;
  readonly base?: string;
  readonly description?: string;
  readonly tag?: Record<string, string>;
}

interface ImageListOptions extends ListOptions {
  readonly model?: string;
  readonly digest?: string;
}

interface ExportOptions {
  readonly output: string;
  readonly overwrite?: boolean;
}

const thing: VersionedThing<Image> = {
  noun: 'image',
  table: 'images',
  texts: { show: 'an image with its layers', delete: 'an image that no service uses' },
  find: findImage,
  usersOf: servicesOf,
  remove: removeImage,
  describe,
};

/** Adds the verbs of `ferry image`. */
export function addImageVerbs(noun: Command): void {
  addCreate(noun);
  addList(noun);
  addShow(noun, thing);
  addUpdate(noun, thing);
  addExport(noun);
  addDelete(noun, thing);
}

function addCreate(noun: Command): void {
  const create = noun
    .command('create')
    .description('build the scoring image of one or more models, without a Docker daemon')
    .requiredOption('--model <model>', 'NAME or NAME:VERSION, may be given several times', collectModel)
    .option('--name <name>', "the image's name (default: the model's)")
    .option('--platform <platforms>', "linux/amd64, linux/arm64, or both with a comma (default: this machine's)")
    .option('--base <image>', "an image with Node to build upon (default: this machine's Node and libraries)")
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
}

function addList(noun: Command): void {
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
}

function addExport(noun: Command): void {
  const exporting = noun
    .command('export')
    .description('write an image as an OCI archive, for a machine with no way to the registry')
    .argument('<image>', versionedNameText)
    .requiredOption('--output <file>', 'the file to write')
    .option('--overwrite', 'replace a file that is there already');
  addWork<ExportOptions>(exporting, async (session, options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const image = findImage(workspace.database, parseVersionedName(text));
    using progress = startProgress('Writing', { format: bytesText });
    const { file, sizeBytes } = await exportImage(workspace, image, {
      ...options,
      signal: session.signal,
      onProgress: (done, total) => progress.update(done, total),
    });
    return { json: { id: idOf(image), file, sizeBytes }, text: `Wrote ${bytesText(sizeBytes)} to ${file}.` };
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
  usedBy: readonly string[] = [],
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
      layers: image.layers.map(layerText).join('\n'),
      SBOM: image.sbom,
      'used by': usedBy.join(', ') || undefined,
      created: image.createdAt,
    }),
  };
}

function layerText({ kind, model = '', platform = '', sizeBytes, digest }: ImageLayer): string {
  return `${digest}  ${bytesText(sizeBytes).padStart(6)}  ${[platform, kind, model].filter((part) => part !== '').join(' ')}`;
}

function documentOf(workspace: Workspace, image: Image): Image & { readonly id: string; readonly reference: string } {
  const { registry } = workspace.config.endpoints;
  const place = registry === undefined ? image.name : `${registry}/${image.name}`;
  return { id: idOf(image), reference: `${place}@${image.digest}`, ...image };
}
