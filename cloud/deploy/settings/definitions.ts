import { acceleratorSettings } from './accelerator.ts';
import { commonSettings } from './common.ts';
import { containerSettings } from './container.ts';
import type { SettingDefinition, StandardSetting } from './definition.ts';
import { placeSettings } from './place.ts';
import { scalingSettings } from './scaling.ts';
import { trafficSettings } from './traffic.ts';

/**
 * All settings of a service, by Azure ML v1's names where it had them: the one table that the command line, `service.yaml`, the
 * importer of v1's files and the checks read. A new setting, or a target that takes one, is an entry in one of its parts and nothing else.
 */
export const settingDefinitions = {
  ...commonSettings,
  ...scalingSettings,
  ...containerSettings,
  ...acceleratorSettings,
  ...placeSettings,
  ...trafficSettings,
};

type Definitions = typeof settingDefinitions;

/** Name of a setting. */
export type SettingName = keyof Definitions;

type ValueOf<D> = D extends SettingDefinition<infer T> ? T : never;

/** Settings as they are given, none of which has to be. */
export type GivenSettings = { readonly [K in SettingName]?: ValueOf<Definitions[K]> | undefined };

/** Settings with what is not given filled in. */
export type ServiceSettings = {
  readonly [K in SettingName as Definitions[K] extends StandardSetting<infer _> ? K : never]: ValueOf<Definitions[K]>;
} & {
  readonly [K in SettingName as Definitions[K] extends StandardSetting<infer _> ? never : K]?: ValueOf<Definitions[K]>;
};

/** Gives the table as a list, for those who go through all of it. */
export function allSettings(): readonly [SettingName, SettingDefinition<unknown> | StandardSetting<unknown>][] {
  return Object.entries(settingDefinitions) as [SettingName, SettingDefinition<unknown> | StandardSetting<unknown>][];
}
