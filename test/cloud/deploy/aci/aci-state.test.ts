import type { ContainerGroup } from '@azure/arm-containerinstance';
import { expect, test } from 'vitest';
import { aciState } from '../../../../cloud/deploy/aci/aci-state.ts';

type View = NonNullable<ContainerGroup['containers'][number]['instanceView']>;

const start = new Date('2026-11-30T12:00:00Z');
const crashed = {
  state: 'Terminated',
  exitCode: 3,
  startTime: start,
  finishTime: new Date('2026-11-30T12:00:02Z'),
  detailStatus: 'Error',
};

function groupOf(view: View, changes: Partial<ContainerGroup> = {}): ContainerGroup {
  const resources = { requests: { cpu: 1, memoryInGB: 1 } };
  return {
    osType: 'Linux',
    provisioningState: 'Succeeded',
    instanceView: { state: 'Running', events: [] },
    containers: [{ name: 'scoring', image: 'digits', resources, instanceView: view }],
    ...changes,
  };
}

test.each<[string, string, Parameters<typeof aciState>[0]]>([
  ['Failed', 'the container group is gone', { group: undefined, output: '', answers: undefined }],
  [
    'Healthy',
    '',
    { group: groupOf({ currentState: { state: 'Running', startTime: new Date() } }), output: '', answers: true },
  ],
  [
    'Transitioning',
    'does not answer yet: loading',
    {
      group: groupOf({ currentState: { state: 'Running', startTime: new Date() } }),
      output: 'a\nloading\n',
      answers: false,
    },
  ],
  [
    'Unhealthy',
    'does not answer yet',
    { group: groupOf({ currentState: { state: 'Running', startTime: start } }), output: '', answers: false },
  ],
  [
    'Transitioning',
    'pulling image "digits"',
    {
      group: groupOf(
        { events: [{ name: 'Pulling', message: 'pulling image "digits"', type: 'Normal' }] },
        { provisioningState: 'Creating' },
      ),
      output: '',
      answers: undefined,
    },
  ],
  [
    'Failed',
    'ended with exit code 3: no such model',
    { group: groupOf({ currentState: crashed }), output: 'no such model\n', answers: undefined },
  ],
  [
    'Failed',
    'exit code 3, 3 times: it wrote nothing',
    {
      group: groupOf({ currentState: { state: 'Waiting' }, previousState: crashed, restartCount: 2 }),
      output: '',
      answers: undefined,
    },
  ],
  [
    'Unhealthy',
    'exit code 3',
    {
      group: groupOf({ currentState: { ...crashed, finishTime: new Date('2026-11-30T14:00:00Z') } }),
      output: '',
      answers: undefined,
    },
  ],
  [
    'Unhealthy',
    'is stopped',
    {
      group: groupOf(
        { currentState: { state: 'Terminated', exitCode: 0, detailStatus: 'Stopped' } },
        { instanceView: { state: 'Stopped' } },
      ),
      output: '',
      answers: undefined,
    },
  ],
  [
    'Failed',
    'Failed to pull image',
    {
      group: groupOf(
        { events: [{ name: 'Failed', type: 'Warning', message: 'Failed to pull image "digits": 404' }] },
        { provisioningState: 'Failed' },
      ),
      output: '',
      answers: undefined,
    },
  ],
  [
    'Unschedulable',
    'not available in the location',
    {
      group: groupOf(
        {},
        {
          provisioningState: 'Failed',
          instanceView: {
            state: 'Pending',
            events: [
              {
                name: 'InsufficientCapacity',
                type: 'Warning',
                message: 'The requested resource is not available in the location',
              },
            ],
          },
        },
      ),
      output: '',
      answers: undefined,
    },
  ],
])('aciState() is %s (%s)', (state, reason, seen) => {
  const found = aciState(seen);
  expect(found.state).toBe(state);
  expect(found.reason ?? '').toContain(reason);
});
