import { expect, test } from 'vitest';
import type { KubeObject } from '../../../simulators/kubernetes/objects.ts';
import { kinds } from '../../../simulators/kubernetes/resources.ts';
import { Store } from '../../../simulators/kubernetes/store.ts';

function configMap(name: string): KubeObject {
  const metadata = {
    name,
    namespace: 'default',
    uid: name,
    resourceVersion: '',
    creationTimestamp: '2026-01-01T00:00:00Z',
  };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata };
}

test('since() gives what happened after a revision, and 410 when that is too long ago', () => {
  const store = new Store();
  const { metadata } = store.add(kinds.configMap, configMap('a'));
  store.add(kinds.configMap, configMap('b'));
  expect(store.since(Number(metadata.resourceVersion)).map(({ object }) => object.metadata.name)).toEqual(['b']);
  for (let times = 0; times < 20_001; times += 1) store.replace(kinds.configMap, configMap('b'));
  expect(() => store.since(Number(metadata.resourceVersion))).toThrow(
    expect.objectContaining({ code: 410, reason: 'Expired' }),
  );
});

test('add() refuses a name that is taken', () => {
  const store = new Store();
  store.add(kinds.configMap, configMap('a'));
  expect(() => store.add(kinds.configMap, configMap('a'))).toThrow('configmaps "a" already exists');
});
