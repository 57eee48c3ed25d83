import { type Command, Option } from 'commander';
import { parseVersionedName } from '../../shared/model/name.ts';
import { addCreate } from './image-create.ts';
import { describeImage, documentOf, imageContents } from './image-text.ts';
import { addListOptions, listFilter, type ListOptions } from './label-options.ts';
import { addDelete, addShow, addUpdate, idOf, versionedNameText, type VersionedThing } from './versioned-verbs.ts';
import { startProgress } from '../cli/progress.ts';
import { pairsText } from '../cli/result.ts';
import { bytesText, table } from '../../shared/text-layout.ts';
import { addWork } from '../cli/session.ts';
import { exportContext } from '../images/export-context.ts';
import { exportImage } from '../images/export.ts';
import { findImage, type Image, listImages } from '../images/image.ts';
import { removeImage, servicesOf } from '../images/remove.ts';

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
