import { expect, test } from 'vitest';
import type { ContainerView, PodView } from '../../../../cloud/deploy/kubernetes/cluster.ts';
import { clusterServiceState, type DeploymentView } from '../../../../cloud/deploy/kubernetes/cluster-service-state.ts';

const service = { spec: { ports: [{ port: 80 }] }, status: { loadBalancer: { ingress: [{ ip: '10.0.0.1' }] } } };
const done: DeploymentView = {
  metadata: { generation: 2 },
  spec: { replicas: 1 },
  status: { observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1 },
};
const rolling: DeploymentView = {
  ...done,
  status: { observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 1 },
};
const pod = (container: Partial<ContainerView>): PodView => ({
  metadata: { name: 'digits-1' },
  status: { containerStatuses: [{ ready: false, restartCount: 0, ...container }] },
});

test('a service whose new replicas are all there is Healthy, at its load balancer', () => {
  const state = clusterServiceState({ deployments: [done], service, pods: [pod({ ready: true })] });
  expect(state).toEqual({
    state: 'Healthy',
    address: 'http://10.0.0.1:80',
    instances: [{ name: 'digits-1', state: 'Healthy' }],
  });
});

test('a service that the cluster has not looked at yet, or that has no address, is Transitioning', () => {
  const pods = [pod({ ready: true })];
  expect(clusterServiceState({ deployments: [{ ...done, metadata: { generation: 3 } }], service, pods }).state).toBe(
    'Transitioning',
  );
  expect(clusterServiceState({ deployments: [done], service: undefined, pods })).toMatchObject({
    state: 'Transitioning',
    reason: 'the load balancer has no address yet',
  });
});

test('a container that ends again and again is Failed, with its own last words, and Unhealthy before that', () => {
  const ended = { terminated: { exitCode: 3, message: 'loading\ncannot load the model: it is broken\n' } };
  const failed = clusterServiceState({
    deployments: [rolling],
    service,
    pods: [pod({ lastState: ended, restartCount: 2 })],
  });
  expect(failed).toMatchObject({
    state: 'Failed',
    reason: 'digits-1: it ended with 3: cannot load the model: it is broken',
  });
  const once = clusterServiceState({ deployments: [rolling], service, pods: [pod({ state: ended, restartCount: 0 })] });
  expect(once.state).toBe('Unhealthy');
});

test('an image that cannot be pulled is Failed, and a pod without a node Unschedulable', () => {
  const state = { waiting: { reason: 'ImagePullBackOff', message: 'not found' } };
  expect(clusterServiceState({ deployments: [rolling], service, pods: [pod({ state })] })).toMatchObject({
    state: 'Failed',
    reason: 'digits-1: the image cannot be pulled: not found',
  });
  const conditions = [
    { type: 'PodScheduled', status: 'False', message: '0/1 nodes are available: 1 Insufficient cpu.' },
  ];
  const unplaced = { metadata: { name: 'digits-1' }, status: { conditions } };
  expect(clusterServiceState({ deployments: [rolling], service, pods: [unplaced] })).toMatchObject({
    state: 'Unschedulable',
    reason: 'digits-1: 0/1 nodes are available: 1 Insufficient cpu.',
  });
});

test('a deployment that is gone, or may make no pods, is Failed', () => {
  expect(clusterServiceState({ deployments: [], service, pods: [] }).state).toBe('Failed');
  const status = { conditions: [{ type: 'ReplicaFailure', status: 'True', message: 'exceeded quota: few' }] };
  expect(clusterServiceState({ deployments: [{ ...rolling, status }], service, pods: [] })).toMatchObject({
    state: 'Failed',
    reason: 'exceeded quota: few',
  });
});

test('a service of several versions is Healthy once all of them and the router are', () => {
  const pods = [pod({ ready: true })];
  expect(clusterServiceState({ deployments: [done, rolling], service, pods })).toMatchObject({
    state: 'Transitioning',
    reason: '1 of 1 replicas are new, 1 available',
  });
  expect(clusterServiceState({ deployments: [done, done], service, pods }).state).toBe('Healthy');
});

test('a pod is as its worst container is', () => {
  const containers: ContainerView[] = [
    { ready: true, restartCount: 0 },
    { ready: false, restartCount: 0, state: { waiting: { reason: 'ImagePullBackOff', message: 'not found' } } },
  ];
  const both = { metadata: { name: 'digits-1' }, status: { containerStatuses: containers } };
  expect(clusterServiceState({ deployments: [rolling], service, pods: [both] }).state).toBe('Failed');
});
