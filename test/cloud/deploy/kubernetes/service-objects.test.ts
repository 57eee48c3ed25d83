import { beforeAll, expect, test } from 'vitest';
import type { DesiredService } from '../../../../cloud/deploy/deployer.ts';
import { serviceObjects, withoutSecrets } from '../../../../cloud/deploy/kubernetes/service-objects.ts';
import { newSecrets } from '../../../../cloud/deploy/service-keys.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { completeSettings } from '../../../../cloud/deploy/settings/service-settings.ts';
import { violations } from '../../../../simulators/kubernetes/admission/pod-security.ts';
import { type Deployment, type Json, valueAt } from '../../../../simulators/kubernetes/objects.ts';
import { resources } from '../../../../simulators/kubernetes/resources.ts';
import { checkSchema, loadChecks, withoutUnknown } from '../../../../simulators/kubernetes/schema/validate.ts';

const place = { namespace: 'scoring', image: `registry.example/digits@sha256:${'1'.repeat(64)}` };

function desired(given: GivenSettings, tls?: DesiredService['secrets']['tls']): DesiredService {
  return {
    name: 'digits',
    target: { kind: 'aks', compute: 'prod' },
    given,
    settings: completeSettings('aks', given),
    secrets: { ...newSecrets(), ...(tls && { tls }) },
    sample: undefined,
    scope: '00000000-0000-0000-0000-000000000000/local/lab',
  } as unknown as DesiredService;
}

beforeAll(() => loadChecks(resources));

test.each<[string, GivenSettings]>([
  ['as it is', {}],
  ['with a number of replicas', { numReplicas: 3, cpuCoresLimit: 2, memoryGbLimit: 1, gpuCores: 1 }],
  ['scaled by load', { autoscaleMinReplicas: 2, autoscaleMaxReplicas: 5, autoscaleTargetUtilization: 50 }],
  ['open to everybody', { authEnabled: false }],
])(
  "every object of a service %s is valid by Kubernetes' own schema and meets the restricted standard",
  (_name, given) => {
    const objects = serviceObjects(desired(given), place);
    for (const object of objects) {
      const resource = resources.find(({ kind }) => kind === object.kind);
      if (resource === undefined) throw new Error(`no kind ${object.kind}`);
      const { value, unknown } = withoutUnknown(resource.definition, object);
      expect([object.kind, unknown, checkSchema(resource, value)]).toEqual([object.kind, [], []]);
    }
    const deployment = objects.find(({ kind }) => kind === 'Deployment') as unknown as Deployment;
    expect(violations('restricted', deployment.spec.template.spec as never)).toEqual([]);
  },
);

test('serviceObjects() maps the scaler of Azure ML: fast up, slow down, and leaves the replicas to it', () => {
  const objects = serviceObjects(
    desired({ autoscaleMinReplicas: 2, autoscaleMaxReplicas: 5, autoscaleDownSeconds: 120 }),
    place,
  );
  const scaler = objects.find(({ kind }) => kind === 'HorizontalPodAutoscaler');
  expect(scaler?.['spec']).toMatchObject({
    minReplicas: 2,
    maxReplicas: 5,
    metrics: [{ resource: { name: 'cpu', target: { averageUtilization: 70 } } }],
    behavior: { scaleUp: { stabilizationWindowSeconds: 0 }, scaleDown: { stabilizationWindowSeconds: 120 } },
  });
  const deployment = objects.find(({ kind }) => kind === 'Deployment');
  expect(valueAt(deployment, 'spec.replicas')).toBeUndefined();
  const fixed = serviceObjects(desired({ numReplicas: 3 }), place);
  expect(fixed.some(({ kind }) => kind === 'HorizontalPodAutoscaler')).toBe(false);
  expect(
    valueAt(
      fixed.find(({ kind }) => kind === 'Deployment'),
      'spec.replicas',
    ),
  ).toBe(3);
});

test('serviceObjects() answers over TLS at 443 where there is a certificate', () => {
  const objects = serviceObjects(desired({}, { certificate: 'CERT', key: 'KEY' }), place);
  const secret = objects.find(({ kind }) => kind === 'Secret');
  expect(Object.keys(secret?.['data'] as Json)).toEqual(['keys.json', 'tls.crt', 'tls.key']);
  expect(
    valueAt(
      objects.find(({ kind }) => kind === 'Service'),
      'spec.ports',
    ),
  ).toMatchObject([{ port: 443 }]);
});

test('withoutSecrets() leaves nothing of a secret but its names', () => {
  const service = desired({});
  const text = JSON.stringify(withoutSecrets(serviceObjects(service, place)));
  const shown = Buffer.from(/"keys\.json":"([^"]*)"/.exec(text)?.[1] ?? '', 'base64').toString();
  expect(shown).toBe('[secret]');
  expect(text).not.toContain(service.secrets.primary);
});
