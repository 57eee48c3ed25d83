import { expect, test } from 'vitest';
import { applyConfiguration, noteUpdate } from '../../../simulators/kubernetes/apply/managers.ts';
import type { Json, KubeObject } from '../../../simulators/kubernetes/objects.ts';
import { applyStrategicPatch } from '../../../simulators/kubernetes/patch/merge-patch.ts';
import { kinds } from '../../../simulators/kubernetes/resources.ts';

const time = '2026-01-01T00:00:00Z';
const metadata = { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: time };

function apply(live: KubeObject | undefined, manager: string, spec: Json, force = false): KubeObject {
  const applied = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec };
  const { object, managedFields } = applyConfiguration(kinds.deployment, live, applied, { manager, force, time });
  return { ...object, apiVersion: 'apps/v1', kind: 'Deployment', metadata: { ...metadata, managedFields } };
}

const container = (name: string, more: Json = {}): Json => ({
  template: { spec: { containers: [{ name, ...more }] } },
});
const namesOf = ({ spec }: KubeObject): unknown =>
  ((spec as Json)['template'] as { spec: { containers: Json[] } }).spec.containers;

test('apply puts the items of two managers together by their keys, and takes away what one no longer wants', () => {
  const first = apply(undefined, 'one', container('web', { image: 'a' }));
  const both = apply(first, 'two', container('beside', { image: 'b' }));
  expect(namesOf(both)).toEqual([
    { name: 'beside', image: 'b' },
    { name: 'web', image: 'a' },
  ]);
  const left = apply(both, 'two', { paused: true });
  expect(namesOf(left)).toEqual([{ name: 'web', image: 'a' }]);
});

test('apply keeps what another manager wants too, and what nobody has applied', () => {
  const first = apply(undefined, 'one', { ...container('web', { image: 'a' }), paused: true });
  const shared = apply(first, 'two', { paused: true });
  const defaulted = { ...shared, spec: { ...(shared['spec'] as Json), revisionHistoryLimit: 10 } };
  const left = apply(defaulted, 'one', container('web', { image: 'a' }));
  expect(left['spec']).toMatchObject({ paused: true, revisionHistoryLimit: 10 });
});

test('apply refuses to change the field of another manager, names it, and takes it by force', () => {
  const first = apply(undefined, 'one', container('web', { image: 'a' }));
  expect(() => apply(first, 'two', container('web', { image: 'b' }))).toThrow(
    'conflict with "one": .spec.template.spec.containers[name="web"].image',
  );
  const forced = apply(first, 'two', container('web', { image: 'b' }), true);
  expect(namesOf(forced)).toEqual([{ name: 'web', image: 'b' }]);
  const owners = forced.metadata.managedFields?.filter((entry) => JSON.stringify(entry).includes('f:image'));
  expect(owners?.map((entry) => entry.manager)).toEqual(['two']);
});

test('an update takes the fields that it changes from who had them', () => {
  const first = apply(undefined, 'one', { replicas: 1 });
  const after = { ...first, spec: { replicas: 2 } };
  const fields = noteUpdate(kinds.deployment, {
    before: first,
    after,
    manager: { name: 'someone', operation: 'Update' },
    time,
  });
  expect(fields).toMatchObject([
    { manager: 'someone', operation: 'Update', fieldsV1: { 'f:spec': { 'f:replicas': {} } } },
  ]);
});

test('a strategic merge patch merges containers by name, deletes, replaces and orders', () => {
  const before = {
    spec: { template: { spec: { containers: [{ name: 'a', image: '1', args: ['x'] }, { name: 'b' }] } } },
  };
  const patched = applyStrategicPatch(kinds.deployment.definition, before, {
    spec: {
      template: {
        spec: {
          '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }],
          containers: [{ name: 'a', image: '2', args: ['y'] }, { name: 'b', $patch: 'delete' }, { name: 'c' }],
        },
      },
    },
  });
  expect(patched).toEqual({
    spec: { template: { spec: { containers: [{ name: 'c' }, { name: 'a', image: '2', args: ['y'] }] } } },
  });
});
