import type { Command } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import { parseFullName, parseVersionedName, type VersionedName } from '../../shared/model/name.ts';
import type { CommandResult } from '../cli/result.ts';
import { addWork } from '../cli/session.ts';
import { type Labelled, type LabelledTable, updateLabels } from '../models/label-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { addUpdateOptions, labelChange, type UpdateOptions } from './label-options.ts';

/** How the argument that names a version is described. */
export const versionedNameText = 'NAME or NAME:VERSION; without a version the latest one';

/** What the verbs of a versioned thing, a model or an image, need to know of it. */
export interface VersionedThing<T extends Labelled> {
  readonly noun: 'model' | 'image';
  readonly table: LabelledTable;
  /** What `show` shows, and what `delete` demands, each to follow the noun. */
  readonly texts: { readonly show: string; readonly delete: string };
  readonly find: (database: WorkspaceDatabase, wanted: VersionedName) => T;
  /** Names whatever would break without it. */
  readonly usersOf: (database: WorkspaceDatabase, thing: T) => readonly string[];
  readonly remove: (workspace: Workspace, wanted: VersionedName) => Promise<T>;
  readonly describe: (
    workspace: Workspace,
    thing: T,
    usedBy?: readonly string[],
  ) => CommandResult & { readonly json: object };
  /** Tells what only `show` does: members of the document, and text below the rest. */
  readonly contents?: (workspace: Workspace, thing: T) => Promise<CommandResult & { readonly json: object }>;
}

/** Gives the id of a version: `name:version`. */
export function idOf({ name, version }: Required<VersionedName>): string {
  return `${name}:${version}`;
}

/** Adds the verb that shows a version, with who uses it. */
export function addShow<T extends Labelled>(parent: Command, { noun, texts, ...thing }: VersionedThing<T>): void {
  const show = parent.command('show').description(`show ${texts.show}`).argument(`<${noun}>`, versionedNameText);
  addWork(show, async (session, _options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const found = thing.find(workspace.database, parseVersionedName(text));
    const usedBy = thing.usersOf(workspace.database, found);
    const { json, text: described } = thing.describe(workspace, found, usedBy);
    const contents = await thing.contents?.(workspace, found);
    return {
      json: { ...json, ...contents?.json, usedBy },
      text: contents === undefined ? described : `${described}\n\n${contents.text}`,
    };
  });
}

/** Adds the verb that changes what may be changed of a version. */
export function addUpdate<T extends Labelled>(parent: Command, { noun, table, ...thing }: VersionedThing<T>): void {
  const update = parent.command('update').description('change tags, add properties, change the description');
  addUpdateOptions(update.argument(`<${noun}>`, versionedNameText));
  addWork<UpdateOptions>(update, async (session, options, [text = '']) => {
    const workspace = await session.openWorkspace();
    const { database } = workspace;
    const wanted = parseVersionedName(text);
    const find = (): T => thing.find(database, wanted);
    const updated = updateLabels(database, { table, find, change: labelChange(options), clock: systemClock });
    return thing.describe(workspace, updated);
  });
}

/** Adds the verb that deletes a version, which has to be named wholly. */
export function addDelete<T extends Labelled>(parent: Command, { noun, texts, remove }: VersionedThing<T>): void {
  const verb = parent.command('delete').description(`delete ${texts.delete}`).argument(`<${noun}>`, 'NAME:VERSION');
  addWork(verb, async (session, _options, [text = '']) => {
    const id = idOf(await remove(await session.openWorkspace(), parseFullName(text)));
    return { json: { id, deleted: true }, text: `Deleted ${id}.` };
  });
}
