import { expect, test } from 'vitest';
import { type DeviceReport, deviceReportOf } from '../../../../cloud/deploy/iotedge/device-report.ts';
import { planDevice } from '../../../../cloud/deploy/iotedge/edge-plan.ts';

const module = (image: string, more: object = {}) => ({ type: 'docker', settings: { image }, ...more });
const whole = (modules: object) => ({ modulesContent: { $edgeAgent: { 'properties.desired': { modules } } } });
const layer = (paths: Record<string, unknown>) => ({
  modulesContent: {
    $edgeAgent: Object.fromEntries(
      Object.entries(paths).map(([path, value]) => [`properties.desired.modules.${path}`, value]),
    ),
  },
});
const planned = { id: 'ours', targetCondition: '*', labels: {} };

/** A device that has been asked for modules, and that these deployments mean. */
function device(modules: object, ids: readonly string[]): DeviceReport {
  return deviceReportOf({
    deviceId: 'gw-1',
    tags: {},
    properties: { desired: { $version: 2, modules }, reported: {} },
    configurations: Object.fromEntries(ids.map((id) => [id, { status: 'Targeted' }])),
  });
}

test('planDevice() names each module with what becomes of it: a change of any part of it is one', () => {
  const before = {
    same: module('same:1', { env: { A: { value: '1' }, B: { value: '2' } } }),
    env: module('env:1', { env: { A: { value: '1' } } }),
    image: module('image:1'),
    old: module('old:1'),
  };
  const now = {
    new: module('new:1', { status: 'stopped' }),
    // The same in another order.
    same: { env: { B: { value: '2' }, A: { value: '1' } }, settings: { image: 'same:1' }, type: 'docker' },
    env: module('env:1', { env: { A: { value: '2' } } }),
    image: module('image:2'),
  };
  const plan = planDevice(device(before, []), { ...planned, content: whole(now), priority: 1 }, { deployments: [] });
  expect(plan.isApplied).toBe(true);
  expect(
    plan.modules.map(({ name, image, isStopped, from, change }) => [name, image, isStopped, from, change]),
  ).toEqual([
    ['env', 'env:1', false, 'ours', 'changed'],
    ['image', 'image:2', false, 'ours', 'changed'],
    ['new', 'new:1', true, 'ours', 'new'],
    ['old', 'old:1', false, undefined, 'gone'],
    ['same', 'same:1', false, 'ours', 'same'],
  ]);
});

test('planDevice() lays layers over each other by priority: whole modules, parts of them, and what they take out', () => {
  const deployments = [
    {
      id: 'base',
      priority: 5,
      content: whole({ digits: module('digits:1'), filter: module('filter:1'), out: module('out:1') }),
    },
    { id: 'below', priority: 6, content: layer({ tap: module('tap:1') }) },
    {
      id: 'high',
      priority: 9,
      content: layer({ 'filter.settings.image': 'filter:9', out: null, tap: module('tap:9') }),
    },
    { id: 'low', priority: 4, content: layer({ lost: module('lost:1') }) },
    { id: 'elsewhere', priority: 50, content: whole({ other: module('other:1') }) },
  ];
  const ours = { ...planned, content: layer({ filter: module('filter:2'), tap: module('tap:2') }), priority: 7 };
  const report = device({}, ['base', 'below', 'high', 'low']);
  const plan = planDevice(report, ours, { deployments });
  expect(plan.isApplied).toBe(true);
  expect(plan.modules).toMatchObject([
    { name: 'digits', image: 'digits:1', from: 'base' },
    // A higher layer has another image for it, and it is ours all the same.
    { name: 'filter', image: 'filter:9', from: 'ours', over: 'base' },
    { name: 'tap', image: 'tap:9', from: 'high', over: 'ours' },
  ]);
  expect(plan.modules).toHaveLength(3);
});

test('planDevice() says that another deployment goes before one', () => {
  const deployments = [{ id: 'base', priority: 5, content: whole({ digits: module('digits:1') }) }];
  const report = device({}, ['base']);
  const low = { ...planned, content: whole({ filter: module('filter:1') }), priority: 4 };
  expect(planDevice(report, low, { deployments })).toMatchObject({ isApplied: false, modules: [{ name: 'digits' }] });
  const under = { ...planned, content: layer({ filter: module('filter:1') }), priority: 5 };
  expect(planDevice(report, under, { deployments })).toMatchObject({ isApplied: false, modules: [{ name: 'digits' }] });
  // Of two equal ones the newer.
  expect(planDevice(report, { ...low, priority: 5 }, { deployments }).isApplied).toBe(true);
});
