import type { DesiredService } from '../deployer.ts';
import { serviceVersions } from '../settings/service-versions.ts';
import { innerName, labelsOf, ports, routerLabels, routerName, versionLabels, workloadName } from './object-names.ts';
import { podTemplate, startSecondsOf, type PodVersion } from './pod-template.ts';
import { innerPort, routerDeployment } from './router-objects.ts';
import { hiddenSecret, secretData, secretName } from './service-secret.ts';

/** A Kubernetes object as it is applied. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    /** Absent of what is in none. */
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Where a service goes, and what it is made of beside itself. */
export interface ObjectPlace {
  readonly namespace: string;
  /** By digest. */
  readonly image: string;
  /** Of the accelerator's runtime, where there is one. */
  readonly acceleratorImage?: string | undefined;
  /** Images of the other versions, by digest, by the version's name. */
  readonly versionImages?: Readonly<Record<string, string>>;
  /** Where collected rows go: a container's address, signed for writing. A secret. */
  readonly uploadUrl?: string | undefined;
  /** Authorities that the storage's certificate is signed by, as PEM. */
  readonly storageCa?: string | undefined;
  /** Where traces and logs go. A secret. */
  readonly appInsights?: string | undefined;
}

/** How long less load has to last before replicas go, in seconds, where nothing is said. */
const scaleDownSeconds = 60;

/** Says whether replicas are scaled by load. */
export function isScaledByLoad({ settings }: Pick<DesiredService, 'settings'>): boolean {
  const { numReplicas, autoscaleEnabled, acceleratorImage } = settings;
  if (numReplicas !== undefined) return false;
  // Devices are few, and the processor does not tell how busy they are: only who asks for it has them scaled.
  const asked = settings.autoscaleMinReplicas ?? settings.autoscaleMaxReplicas ?? settings.autoscaleTargetUtilization;
  return autoscaleEnabled ?? (acceleratorImage === undefined || asked !== undefined);
}

/**
 * Gives all objects that a service is made of, in the order that they are applied in: what others need comes before them. Follows
 * from the service alone, so the same service is the same objects.
 */
export function serviceObjects(desired: DesiredService, place: ObjectPlace): KubernetesObject[] {
  const { name } = desired;
  const object = (apiVersion: string, kind: string, own: string, fields: object): KubernetesObject => ({
    apiVersion,
    kind,
    metadata: { name: own, namespace: place.namespace, labels: labelsOf(name) },
    ...fields,
  });
  const budget = (own: string, matchLabels: object): KubernetesObject =>
    object('policy/v1', 'PodDisruptionBudget', own, { spec: { selector: { matchLabels }, maxUnavailable: 1 } });
  const data = secretData(desired, place);
  const versions = serviceVersions(desired.settings);
  const isRouted = versions.length > 1;
  return [
    ...(data === undefined ? [] : [object('v1', 'Secret', secretName(name), { type: 'Opaque', data })]),
    object('networking.k8s.io/v1', 'NetworkPolicy', name, { spec: networkPolicy(name) }),
    ...versions.map((version) => budget(workloadName(name, version.name), versionLabels(name, version.name))),
    ...(isRouted
      ? [
          budget(routerName(name), routerLabels(name)),
          ...versions.map((version) =>
            object('v1', 'Service', innerName(name, version.name), { spec: innerService(name, version.name) }),
          ),
        ]
      : []),
    ...versions.map((version) => {
      const image = version.image === undefined ? place.image : (place.versionImages?.[version.name] ?? '');
      const spec = deployment(desired, place, { name: version.name, image });
      return object('apps/v1', 'Deployment', workloadName(name, version.name), { spec });
    }),
    ...(isRouted
      ? [object('apps/v1', 'Deployment', routerName(name), { spec: routerDeployment(desired, place.image) })]
      : []),
    object('v1', 'Service', name, { spec: serviceSpec(desired, { isRouted }) }),
    ...(isScaledByLoad(desired)
      ? versions.map((version) => {
          const own = workloadName(name, version.name);
          return object('autoscaling/v2', 'HorizontalPodAutoscaler', own, { spec: autoscaler(desired, own) });
        })
      : []),
  ];
}

/** A namespace that is made where there is none of its name; it stays when the service goes. */
export function namespaceObject(name: string): KubernetesObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

/** The objects without what is in their secrets, for a plan that anybody may read. */
export function withoutSecrets(objects: readonly KubernetesObject[]): KubernetesObject[] {
  return objects.map((object) =>
    object.kind === 'Secret' ? { ...object, data: hiddenSecret(object['data'] as Record<string, string>) } : object,
  );
}

function networkPolicy(service: string): object {
  const tcp = (port: number): object => ({ protocol: 'TCP', port });
  return {
    podSelector: { matchLabels: labelsOf(service) },
    policyTypes: ['Ingress'],
    ingress: [
      { ports: [tcp(ports.http)] },
      // Health and metrics are for the cluster alone.
      { from: [{ namespaceSelector: {} }], ports: [tcp(ports.health)] },
    ],
  };
}

function serviceSpec({ name, secrets }: DesiredService, { isRouted }: { readonly isRouted: boolean }): object {
  const isTls = secrets.tls !== undefined;
  return {
    type: 'LoadBalancer',
    selector: isRouted ? routerLabels(name) : versionLabels(name, 'default'),
    ports: [{ name: isTls ? 'https' : 'http', port: isTls ? 443 : 80, targetPort: 'http', protocol: 'TCP' }],
  };
}

/** The address of one version within the cluster. */
function innerService(service: string, version: string): object {
  return {
    type: 'ClusterIP',
    selector: versionLabels(service, version),
    ports: [{ name: 'http', port: innerPort, targetPort: 'http', protocol: 'TCP' }],
  };
}

/** More replicas come at once, and go when less load has lasted. */
function autoscaler({ settings }: DesiredService, workload: string): object {
  const target = { type: 'Utilization', averageUtilization: settings.autoscaleTargetUtilization ?? 70 };
  return {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: workload },
    minReplicas: settings.autoscaleMinReplicas ?? 1,
    maxReplicas: settings.autoscaleMaxReplicas ?? 10,
    metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }],
    behavior: {
      scaleUp: {
        stabilizationWindowSeconds: 0,
        policies: [
          { type: 'Percent', value: 100, periodSeconds: 15 },
          { type: 'Pods', value: 4, periodSeconds: 15 },
        ],
      },
      scaleDown: {
        stabilizationWindowSeconds: Math.ceil(settings.autoscaleDownSeconds ?? scaleDownSeconds),
        policies: [{ type: 'Percent', value: 50, periodSeconds: 15 }],
      },
    },
  };
}

function deployment(desired: DesiredService, place: ObjectPlace, version: PodVersion): object {
  const { name, settings } = desired;
  return {
    // Where an autoscaler decides, the number of replicas is not ours to say.
    ...(isScaledByLoad(desired) ? {} : { replicas: settings.numReplicas ?? 1 }),
    revisionHistoryLimit: 3,
    progressDeadlineSeconds: startSecondsOf(desired),
    selector: { matchLabels: versionLabels(name, version.name) },
    strategy: {
      type: 'RollingUpdate',
      rollingUpdate: settings.updateInPlace ? { maxSurge: 0, maxUnavailable: 1 } : { maxSurge: 1, maxUnavailable: 0 },
    },
    template: podTemplate(desired, place, version),
  };
}
