import { type Command, InvalidArgumentError, Option } from 'commander';
import { resolve } from 'node:path';
import type { z } from 'zod';
import { isFerryError } from '../../shared/errors.ts';
import { collectPair, positiveInteger } from '../cli/session.ts';
import type { SettingDefinition } from '../deploy/settings/definition.ts';
import { allSettings, type GivenSettings } from '../deploy/settings/definitions.ts';
import { parseTarget, type TargetKind, type TargetReference, targetKinds } from '../deploy/target.ts';

/** What {@link addWaitFlags} gives. */
export interface WaitFlags {
  readonly wait?: boolean;
  /** Seconds. */
  readonly timeout: number;
}

/** Gives a verb the options for waiting until a service is Healthy. */
export function addWaitFlags(verb: Command): Command {
  return verb
    .option('--wait', 'wait until it is Healthy; the first failure ends that')
    .option('--timeout <seconds>', 'how long to wait', positiveInteger, 120);
}

/** Gives a verb an option for every setting of a service, or for those of one target, grouped by the targets that take it. */
export function addSettingFlags(verb: Command, only?: TargetKind): Command {
  for (const [name, definition] of allSettings()) {
    if (only !== undefined && !definition.targets.includes(only)) continue;
    const flag = definition.flag ?? kebab(name);
    const heading = `Settings (${definition.targets.length === targetKinds.length ? 'all targets' : definition.targets.join(', ')}):`;
    if (definition.argument === undefined) {
      verb.addOption(new Option(`--${flag}`, definition.text).helpGroup(heading));
      verb.addOption(new Option(`--no-${flag}`).hideHelp());
    } else {
      const option = new Option(`--${flag} ${definition.argument}`, definition.text).helpGroup(heading);
      verb.addOption(option.argParser(readerOf(definition)));
    }
  }
  return verb;
}

/** Gives the settings among the options that a verb was called with. */
export function givenSettings(options: Readonly<Record<string, unknown>>): GivenSettings {
  const given = allSettings().map(([name, { flag, argument }]) => {
    const value = options[flag === undefined ? name : camel(flag)];
    // Files are where the user stands now, wherever a later command is called.
    return [name, argument === '<file>' && typeof value === 'string' && value !== '' ? resolve(value) : value];
  });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined)) as GivenSettings;
}

/** Reads an option that names a target; for `commander`'s option parser. */
export function readTarget(text: string): TargetReference {
  try {
    return parseTarget(text);
  } catch (error) {
    throw isFerryError(error) ? new InvalidArgumentError(`${error.message}.`) : error;
  }
}

/** A text stays what it is; whether a number is one that may be is checked with all settings. */
function readerOf({ schema, argument }: SettingDefinition<unknown>): (text: string, before: unknown) => unknown {
  if (argument === '<key=value>') {
    return (text, before) => collectPair(text, before as Record<string, string> | undefined);
  }
  const isNumber = (schema as z.ZodType & { readonly type?: string }).type === 'number';
  return (text) => {
    if (!isNumber) return text;
    if (!/^-?\d{1,15}(\.\d{1,15})?$/.test(text))
      throw new InvalidArgumentError(`It is "${text}", a number was wanted.`);
    return Number(text);
  };
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function camel(flag: string): string {
  return flag.replaceAll(/-([a-z])/g, (_whole, letter: string) => letter.toUpperCase());
}
