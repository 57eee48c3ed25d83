import { z } from 'zod';
import type { TargetKind } from '../target.ts';

/** One setting of a service: what it may be, for which targets it is, and by which names users give it. */
export interface SettingDefinition<T> {
  readonly schema: z.ZodType<T>;
  /** How a sentence calls it: "the minimum of replicas". */
  readonly label: string;
  /** What is asked for, to follow "…, " in a refusal: "1 to 65535". */
  readonly wanted: string;
  /** The targets that take it; others refuse it. */
  readonly targets: readonly TargetKind[];
  /** What its argument is called on the command line; a switch that has none is undefined. */
  readonly argument?: string;
  /** What the command line's help says. */
  readonly text: string;
  /** Name on the command line, without `--`. @default its name here, in kebab-case */
  readonly flag?: string;
  /** Where Azure ML v1's `deploymentconfig.json` has it. */
  readonly v1?: string;
}

/** A setting that has a value where none is given. */
export interface StandardSetting<T> extends SettingDefinition<T> {
  /** What it is where it is not given; may depend on the target. */
  readonly standard: T | ((target: TargetKind) => T);
}

/** Writes down a setting that is absent where it is not given. */
export function optional<T>(definition: SettingDefinition<T>): SettingDefinition<T> {
  return definition;
}

/** Writes down a setting that has a value always. */
export function standard<T>(definition: StandardSetting<T>): StandardSetting<T> {
  return definition;
}

export const everywhere: readonly TargetKind[] = ['local', 'aci', 'aks', 'fpga', 'iotedge'];
/** Where callers reach the service over a network of their own, with keys. */
export const served: readonly TargetKind[] = ['local', 'aci', 'aks', 'fpga'];
export const kubernetes: readonly TargetKind[] = ['aks', 'fpga'];
/** Where replicas are many, and how many is ours to say. */
export const scaled: readonly TargetKind[] = ['local', 'aks', 'fpga'];
/** Where somebody else's machines run it. */
export const hosted: readonly TargetKind[] = ['aci', 'aks', 'fpga'];

export const count = z.int().min(1);
export const positive = z.number().positive();
export const text = z.string().min(1);
export const yesNo = z.boolean();

/** Most of Azure ML v1's server for a scoring timeout (azureml-core, `webservice/aks.py`). */
export const timeoutMsMax = 300_000;
/** The scoring server does not start with less. */
export const memoryMbMin = 64;

/** Writes what is wanted of a choice. */
export function oneOf(names: readonly string[]): string {
  return `one of ${names.join(', ')}`;
}
