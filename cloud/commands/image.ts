import { type Command, InvalidArgumentError, Option } from 'commander';
import { isFerryError } from '../../shared/errors.ts';
import { parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
import { describeImage, documentOf, imageContents } from './image-text.ts';
import { addListOptions, listFilter, type ListOptions } from './label-options.ts';
import { addDelete, addShow, addUpdate, idOf, versionedNameText, type VersionedThing } from './versioned-verbs.ts';
import { startProgress } from '../cli/progress.ts';
import { pairsText } from '../cli/result.ts';
import { bytesText, table } from '../../shared/text-layout.ts';
import { addWork, collectPair } from '../cli/session.ts';
import { type CreatedImage, createImage } from '../images/create.ts';
import { exportContext } from '../images/export-context.ts';
import { exportImage } from '../images/export.ts';
import { type Flavor, flavors } from '../images/flavor.ts';
import { findImage, type Image, listImages } from '../images/image.ts';
import { removeImage, servicesOf } from '../images/remove.ts';

interface CreateOptions {
  readonly model?: readonly VersionedName[];
  readonly script?: string;
  readonly include?: readonly string[];
  readonly name?: string;
  readonly platform?: string;
  readonly base?: string;
  readonly optimize?: boolean;
  readonly flavor?: Flavor;
  readonly label?: Record<string, string>;
  readonly description?: string;
  readonly tag?: Record<string, string>;
  readonly property?: Record<string, string>;
}

interface ImageListOptions extends ListOptions {
  readonly model?: string;
  readonly digest?: string;
}

/** As what an image is exported. */
const exportFormats = ['oci-archive', 'dockerfile'] as const;

interface ExportOptions {
  readonly output: string;
  readonly format: (typeof exportFormats)[number];
  readonly overwrite?: boolean;
}

const thing: VersionedThing<Image> = {
  noun: 'image',
  table: 'images',
  texts: { show: 'an image with its layers and what is in them', delete: 'an image that no service uses' },
  find: findImage,
  usersOf: servicesOf,
  remove: removeImage,
  describe: describeImage,
  contents: imageContents,
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
    .option('--model <model>', 'NAME or NAME:VERSION, may be given several times', collectModel)
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
    const { model: models = [], tag: tags, property: properties, label: labels, ...rest } = options;
    using progress = startProgress('Pushing', { format: bytesText });
    const result = await createImage(
      workspace,
      { models, ...(tags && { tags }), ...(properties && { properties }), ...(labels && { labels }), ...rest },
      { signal: session.signal, onProgress: (done, total) => progress.update(done, total) },
    );
    const { created, bytesBuilt, push, warnings } = result;
    for (const warning of warnings) session.note(`warning: ${warning}`);
    const { json, text } = describeImage(workspace, result.image);
    return {
      json: { ...json, created, bytesBuilt, push: push ?? null, warnings },
      text: `${text}\n${outcomeText(result)}`,
    };
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
        ['image', 'models', 'platform', 'flavor', 'created', 'tags'],
        images.map((image) => [
          idOf(image),
          image.models.join(', '),
          image.platform,
          image.flavor,
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
    .description('write an image as an OCI archive, for a machine with no way to the registry, or as a Dockerfile')
    .argument('<image>', versionedNameText)
    .requiredOption('--output <path>', 'the file to write, or the folder for a Dockerfile and its context')
    .addOption(new Option('--format <format>', 'what to write').choices(exportFormats).default('oci-archive'))
    .option('--overwrite', 'replace an archive that is there already');
  addWork<ExportOptions>(exporting, async (session, options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const image = findImage(workspace.database, parseVersionedName(text));
    using progress = startProgress('Writing', { format: bytesText });
    const { format, ...where } = options;
    const write = format === 'dockerfile' ? exportContext : exportImage;
    const { file, sizeBytes } = await write(workspace, image, {
      ...where,
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
