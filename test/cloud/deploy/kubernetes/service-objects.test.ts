import { beforeAll, expect, test } from 'vitest';
import type { DesiredService } from '../../../../cloud/deploy/deployer.ts';
import {
  type KubernetesObject,
  serviceObjects,
  withoutSecrets,
} from '../../../../cloud/deploy/kubernetes/service-objects.ts';
import { newSecrets } from '../../../../cloud/deploy/service-keys.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { completeSettings } from '../../../../cloud/deploy/settings/service-settings.ts';
import { violations } from '../../../../simulators/kubernetes/admission/pod-security.ts';
import { type Deployment, type Json, valueAt } from '../../../../simulators/kubernetes/objects.ts';
import { resources } from '../../../../simulators/kubernetes/resources.ts';
import { checkSchema, loadChecks, withoutUnknown } from '../../../../simulators/kubernetes/schema/validate.ts';

const place = {
  namespace: 'scoring',
  image: `registry.example/digits@sha256:${'1'.repeat(64)}`,
  versionImages: { next: `registry.example/digits@sha256:${'2'.repeat(64)}` },
};

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

/** What Kubernetes would refuse in objects, or a namespace that is restricted would. */
function problemsOf(objects: readonly KubernetesObject[]): unknown[] {
  const deployments = objects.filter(({ kind }) => kind === 'Deployment') as unknown as Deployment[];
  const refused = objects.flatMap((object) => {
    const resource = resources.find(({ kind }) => kind === object.kind);
    if (resource === undefined) return [`no kind ${object.kind}`];
    const { value, unknown } = withoutUnknown(resource.definition, object);
    return [...unknown, ...checkSchema(resource, value)];
  });
  const unsafe = deployments.flatMap(({ spec }) => violations('restricted', spec.template.spec as never));
  return [...refused, ...unsafe];
}

test.each<[string, GivenSettings]>([
  ['as it is', {}],
  ['with a number of replicas', { numReplicas: 3, cpuCoresLimit: 2, memoryGbLimit: 1, gpuCores: 1 }],
  ['scaled by load', { autoscaleMinReplicas: 2, autoscaleMaxReplicas: 5, autoscaleTargetUtilization: 50 }],
  ['open to everybody', { authEnabled: false }],
  ['with versions', { versions: { next: 'digits:2' }, traffic: { next: '10' }, mirror: { next: '50' } }],
])(
  "every object of a service %s is valid by Kubernetes' own schema and meets the restricted standard",
  (_name, given) => {
    const objects = serviceObjects(desired(given), place);
    expect(problemsOf(objects)).toEqual([]);
  },
);

test("serviceObjects() puts an accelerator's runtime beside the scoring server, on nodes that have its devices", () => {
  const given: GivenSettings = {
    acceleratorImage: 'runtime:1',
    acceleratorResource: 'amd.com/xilinx_u250_gen3x16_xdma_shell_2_1-0',
    acceleratorCount: 2,
    acceleratorEnv: { XLNX_VART_FIRMWARE: '/opt/x.xclbin' },
    acceleratorModel: 'compiled',
    acceleratorShare: 0.9,
    nodeSelector: { agentpool: 'fpga' },
    tolerations: { sku: 'fpga:NoSchedule', spot: ':NoExecute' },
    updateInPlace: true,
  };
  const service = { ...desired(given), settings: completeSettings('fpga', given) };
  const objects = serviceObjects(service, { ...place, acceleratorImage: 'registry.example/runtime:1' });
  expect(problemsOf(objects)).toEqual([]);
  expect(objects.some(({ kind }) => kind === 'HorizontalPodAutoscaler')).toBe(false);
  const deployment = objects.find(({ kind }) => kind === 'Deployment');
  expect(valueAt(deployment, 'spec')).toMatchObject({
    replicas: 1,
    progressDeadlineSeconds: 900,
    strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
    template: {
      spec: {
        nodeSelector: { agentpool: 'fpga' },
        tolerations: [
          { key: 'sku', operator: 'Equal', value: 'fpga', effect: 'NoSchedule' },
          { key: 'spot', operator: 'Exists', effect: 'NoExecute' },
        ],
        containers: [
          {
            name: 'scoring',
            env: expect.arrayContaining([
              { name: 'MODELFERRY_ACCELERATOR_URL', value: 'http://127.0.0.1:8500' },
              { name: 'MODELFERRY_ACCELERATOR_MODEL', value: 'compiled' },
              { name: 'MODELFERRY_ACCELERATOR_SHARE_MIN', value: '0.9' },
            ]),
          },
          {
            name: 'accelerator',
            image: 'registry.example/runtime:1',
            env: [{ name: 'XLNX_VART_FIRMWARE', value: '/opt/x.xclbin' }],
            ports: [{ containerPort: 8500 }],
            resources: { limits: { 'amd.com/xilinx_u250_gen3x16_xdma_shell_2_1-0': '2' } },
          },
        ],
      },
    },
  });
});

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

test('serviceObjects() puts a router before versions, which the address of the service then leads to', () => {
  const given = { versions: { next: 'digits:2' }, traffic: { next: '12.5' }, mirror: { next: '50' }, numReplicas: 1 };
  const objects = serviceObjects(desired(given), place);
  const named = (kind: string, name: string): unknown =>
    objects.find((object) => object.kind === kind && object.metadata.name === name);
  expect(valueAt(named('Deployment', 'digits-v-next'), 'spec.template.spec.containers')).toMatchObject([
    { image: place.versionImages.next },
  ]);
  const [router] = valueAt(named('Deployment', 'digits-router'), 'spec.template.spec.containers') as {
    image: string;
    env: { name: string; value: string }[];
  }[];
  expect(router?.image).toBe(place.image);
  expect(JSON.parse(router?.env.find(({ name }) => name === 'MODELFERRY_ROUTES')?.value ?? '')).toEqual([
    { name: 'default', host: '$(DIGITS_V_DEFAULT_SERVICE_HOST)', port: 80, percent: 87.5, mirrorPercent: 0 },
    { name: 'next', host: '$(DIGITS_V_NEXT_SERVICE_HOST)', port: 80, percent: 12.5, mirrorPercent: 50 },
  ]);
  const selectorOf = (name: string): unknown => valueAt(named('Service', name), 'spec.selector');
  expect(selectorOf('digits')).toEqual(valueAt(named('Deployment', 'digits-router'), 'spec.selector.matchLabels'));
  expect(selectorOf('digits-v-next')).toEqual(
    valueAt(named('Deployment', 'digits-v-next'), 'spec.selector.matchLabels'),
  );
  // Clients keep connections to the pods that there were, past the router: those pods are replaced.
  const before = serviceObjects(desired({ numReplicas: 1 }), place).find(({ kind }) => kind === 'Deployment');
  expect(valueAt(named('Deployment', 'digits'), 'spec.template')).not.toEqual(valueAt(before, 'spec.template'));
  expect(valueAt(named('Deployment', 'digits'), 'spec.selector')).toEqual(valueAt(before, 'spec.selector'));
});

test('serviceObjects() has access to storage and Application Insights in the secret, and a new one of the latter starts new pods', () => {
  const service = desired({ collect: true, appInsights: true });
  const access = { ...place, uploadUrl: 'https://store/signed', storageCa: 'CA', appInsights: 'InstrumentationKey=1' };
  const objects = serviceObjects(service, access);
  expect(problemsOf(objects)).toEqual([]);
  const secret = objects.find(({ kind }) => kind === 'Secret')?.['data'] as Json;
  expect(Object.keys(secret)).toEqual(['keys.json', 'upload-url', 'storage-ca.pem', 'app-insights']);
  const templateOf = (all: readonly KubernetesObject[]): unknown =>
    valueAt(
      all.find(({ kind }) => kind === 'Deployment'),
      'spec.template',
    );
  expect(JSON.stringify(templateOf(objects))).not.toMatch(/signed|InstrumentationKey/);
  expect(templateOf(serviceObjects(service, { ...access, uploadUrl: 'https://store/anew' }))).toEqual(
    templateOf(objects),
  );
  expect(templateOf(serviceObjects(service, { ...access, appInsights: 'InstrumentationKey=2' }))).not.toEqual(
    templateOf(objects),
  );
});
