import { type Command, InvalidArgumentError } from 'commander';
import type { LabelFilter, ListFilter } from '../models/label-store.ts';
import type { LabelChange } from '../models/labels.ts';
import { collectPair } from '../cli/session.ts';

/** What {@link addListOptions} gives. */
export interface ListOptions {
  readonly name?: string;
  readonly tag?: readonly LabelFilter[];
  readonly property?: readonly LabelFilter[];
  readonly latest?: boolean;
}

/** What {@link addUpdateOptions} gives. */
export interface UpdateOptions {
  readonly tag?: Readonly<Record<string, string>>;
  readonly addTag?: Readonly<Record<string, string>>;
  readonly removeTag?: readonly string[];
  readonly addProperty?: Readonly<Record<string, string>>;
  readonly description?: string;
}

/** Gives a verb the options that choose from a list by name, tags and properties. */
export function addListOptions(verb: Command): Command {
  return addLabelFilters(verb.option('--name <name>', 'only of this name')).option(
    '--latest',
    'only the latest version of each name',
  );
}

/** Gives a verb the options that choose from a list by tags and properties. */
export function addLabelFilters(verb: Command): Command {
  return verb
    .option('--tag <key[=value]>', 'only with this tag, may be given several times', collectFilter)
    .option('--property <key[=value]>', 'only with this property, may be given several times', collectFilter);
}

/** Gives a verb the options that change tags, properties and description. */
export function addUpdateOptions(verb: Command): Command {
  return verb
    .option('--tag <key=value>', 'replace all tags by this one and those given like it', collectPair)
    .option('--add-tag <key=value>', 'add or change a tag, may be given several times', collectPair)
    .option('--remove-tag <key>', 'remove a tag, may be given several times', collectKey)
    .option('--add-property <key=value>', 'add a property, which stays for good', collectPair)
    .option('--description <text>', 'replace the description');
}

/** Gives the change that the options of {@link addUpdateOptions} ask for. */
export function labelChange({ tag, addTag, removeTag, addProperty, description }: UpdateOptions): LabelChange {
  return {
    ...(tag && { setTags: tag }),
    ...(addTag && { addTags: addTag }),
    ...(removeTag && { removeTags: removeTag }),
    ...(addProperty && { addProperties: addProperty }),
    ...(description !== undefined && { description }),
  };
}

/** Gives the filter that the options of {@link addListOptions} ask for. */
export function listFilter({ name, tag, property, latest }: ListOptions): ListFilter {
  return { ...(name !== undefined && { name }), tags: tag ?? [], properties: property ?? [], latest: latest ?? false };
}

/** Reads `KEY` or `KEY=VALUE`; the value may hold any sign, `,` and `=` too. */
function collectFilter(text: string, before: readonly LabelFilter[] = []): readonly LabelFilter[] {
  const at = text.indexOf('=');
  const key = at < 0 ? text : text.slice(0, at);
  if (key === '') throw new InvalidArgumentError(`"${text}" has no key, KEY or KEY=VALUE was wanted.`);
  return [...before, at < 0 ? { key } : { key, value: text.slice(at + 1) }];
}

function collectKey(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
