import type { Json, KubeObject, ManagedFields } from '../objects.ts';
import { apiVersionOf, type Resource } from '../resources.ts';
import { ApiError } from '../status.ts';
import {
  changedFields,
  difference,
  type FieldSet,
  fieldsOf,
  fromFieldsV1,
  intersection,
  isEmpty,
  nothing,
  pathsOf,
  toFieldsV1,
  union,
} from './field-set.ts';
import { mergeApplied, withoutFields } from './merge.ts';

/** Who writes, and through what. */
export interface Manager {
  readonly name: string;
  readonly operation: 'Apply' | 'Update';
  readonly subresource?: string;
}

/** How many managers that update are told apart; more are put together by a cluster, and here the oldest go. */
const managersMax = 20;

/** Notes what a write has changed, in the object that comes of it. */
export function noteUpdate(
  resource: Resource,
  of: {
    readonly before: KubeObject | undefined;
    readonly after: KubeObject;
    readonly manager: Manager;
    readonly time: string;
  },
): ManagedFields[] {
  const { before, after, manager, time } = of;
  const { set, removed } = changedFields(resource.definition, before ?? {}, after);
  const entries = before?.metadata.managedFields ?? [];
  if (isEmpty(set) && isEmpty(removed)) return entries;
  const lost = union(set, removed);
  const others = entries
    .filter((entry) => !isOf(entry, manager))
    .map((entry) => withFields(entry, difference(fromFieldsV1(entry.fieldsV1), lost)));
  const own = entries.find((entry) => isOf(entry, manager));
  const mine = difference(union(own === undefined ? nothing : fromFieldsV1(own.fieldsV1), set), removed);
  return collect([...others, entryOf(resource, manager, mine, time)]);
}

/** The settings of {@link applyConfiguration}. */
export interface ApplyOptions {
  readonly manager: string;
  /** Takes fields from others, instead of refusing. */
  readonly force: boolean;
  readonly time: string;
}

/**
 * Lays a configuration over an object for one manager: what it sets is its own, what it set the last time and no longer does goes, unless
 * another wants it too.
 * @throws {ApiError} 409 with a cause for each field that another manager has set otherwise
 * @see https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */
export function applyConfiguration(
  resource: Resource,
  live: KubeObject | undefined,
  applied: Json,
  options: ApplyOptions,
): { object: Json; managedFields: ManagedFields[] } {
  const { definition } = resource;
  const manager: Manager = { name: options.manager, operation: 'Apply' };
  const wanted = fieldsOf(definition, applied);
  const entries = live?.metadata.managedFields ?? [];
  const own = entries.find((entry) => isOf(entry, manager));
  const merged = mergeApplied(definition, live ?? {}, applied);
  const { set: changed } = changedFields(definition, live ?? {}, merged);
  const taken = entries.flatMap((entry) => {
    const fields = intersection(intersection(fromFieldsV1(entry.fieldsV1), changed), wanted);
    return isOf(entry, manager) || isEmpty(fields) ? [] : [{ entry, fields }];
  });
  if (taken.length > 0 && !options.force) throw conflicts(taken);
  const others = entries
    .filter((entry) => !isOf(entry, manager))
    .map((entry) => {
      const lost = taken.find((one) => one.entry === entry)?.fields ?? nothing;
      return withFields(entry, difference(fromFieldsV1(entry.fieldsV1), lost));
    });
  const dropped = difference(own === undefined ? nothing : fromFieldsV1(own.fieldsV1), wanted);
  const stillOwned = others.reduce<FieldSet>((sum, { fieldsV1 }) => union(sum, fromFieldsV1(fieldsV1)), nothing);
  const object = withoutFields(definition, merged, difference(dropped, stillOwned));
  const isUnchanged = own !== undefined && JSON.stringify(toFieldsV1(wanted)) === JSON.stringify(own.fieldsV1);
  const mine = isUnchanged ? own : entryOf(resource, manager, wanted, options.time);
  return { object, managedFields: collect([...others, mine]) };
}

function conflicts(taken: readonly { readonly entry: ManagedFields; readonly fields: FieldSet }[]): ApiError {
  const causes = taken.flatMap(({ entry, fields }) =>
    pathsOf(fields).map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with "${entry.manager}"${entry.subresource === undefined ? '' : ` with subresource "${entry.subresource}"`}${entry.operation === 'Apply' ? '' : ` using ${entry.apiVersion}`}`,
      field,
    })),
  );
  const plural = causes.length === 1 ? 'conflict' : 'conflicts';
  const [first] = causes;
  const whole =
    causes.length === 1 && first !== undefined
      ? `${first.message}: ${first.field}`
      : `${causes[0]?.message ?? ''}:\n${causes.map(({ field }) => `- ${field}`).join('\n')}`;
  return new ApiError(409, 'Conflict', `Apply failed with ${causes.length} ${plural}: ${whole}`, { causes });
}

function isOf(entry: ManagedFields, manager: Manager): boolean {
  return (
    entry.manager === manager.name &&
    entry.operation === manager.operation &&
    (entry.subresource ?? '') === (manager.subresource ?? '')
  );
}

function withFields(entry: ManagedFields, fields: FieldSet): ManagedFields {
  return { ...entry, fieldsV1: isEmpty(fields) ? {} : toFieldsV1(fields) };
}

function entryOf(resource: Resource, manager: Manager, fields: FieldSet, time: string): ManagedFields {
  return {
    manager: manager.name,
    operation: manager.operation,
    apiVersion: apiVersionOf(resource),
    time,
    fieldsType: 'FieldsV1',
    fieldsV1: isEmpty(fields) ? {} : toFieldsV1(fields),
    ...(manager.subresource === undefined ? {} : { subresource: manager.subresource }),
  };
}

/** Leaves out who owns nothing any more. */
function collect(entries: readonly ManagedFields[]): ManagedFields[] {
  const kept = entries.filter(({ fieldsV1 }) => Object.keys(fieldsV1).length > 0);
  const applied = kept.filter(({ operation }) => operation === 'Apply');
  return [...applied, ...kept.filter(({ operation }) => operation === 'Update').slice(-managersMax)];
}
