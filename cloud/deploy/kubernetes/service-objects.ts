import type { DesiredService } from '../deployer.ts';
import { scoringEnvironment } from '../scoring-environment.ts';
import { callersFile } from '../service-keys.ts';

/** A Kubernetes object as it is applied. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Where a service goes, and from which image. */
export interface ObjectPlace {
  readonly namespace: string;
  /** By digest. */
  readonly image: string;
}

/** User and group that scoring images are made for. */
const user = 10_001;
const secretsFolder = '/etc/modelferry/secrets';
const dataFolder = '/var/modelferry/data';
const ports = { http: 5001, health: 5003 } as const;
/** How long a pod still takes requests after it was told to end, in seconds: load balancers hear of it in that time. */
const drainSeconds = 5;
/** How long a new version may take without getting on, in seconds. */
const progressSeconds = 180;
/** How long less load has to last before replicas go, in seconds, where nothing is said. */
const scaleDownSeconds = 60;

/** Name of the secret that a service's keys and TLS files are in. */
export function secretName(service: string): string {
  return `${service}-secrets`;
}

/** Labels by which all of a service's objects are found. */
export function labelsOf(service: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': service,
    'app.kubernetes.io/component': 'scoring',
    'app.kubernetes.io/managed-by': 'modelferry',
  };
}

/** Says whether replicas are scaled by load. */
export function isScaledByLoad({ settings }: Pick<DesiredService, 'settings'>): boolean {
  return settings.numReplicas === undefined && settings.autoscaleEnabled !== false;
}

/**
 * Gives all objects that a service is made of, in the order that they are applied in: what the deployment needs comes before it. Follows
 * from the service alone, so the same service is the same objects.
 */
export function serviceObjects(desired: DesiredService, place: ObjectPlace): KubernetesObject[] {
  const { name } = desired;
  const object = (apiVersion: string, kind: string, fields: object, own = name): KubernetesObject => ({
    apiVersion,
    kind,
    metadata: { name: own, namespace: place.namespace, labels: labelsOf(name) },
    ...fields,
  });
  const selector = { matchLabels: labelsOf(name) };
  const data = secretData(desired);
  return [
    ...(data === undefined ? [] : [object('v1', 'Secret', { type: 'Opaque', data }, secretName(name))]),
    object('networking.k8s.io/v1', 'NetworkPolicy', { spec: networkPolicy(selector) }),
    object('policy/v1', 'PodDisruptionBudget', { spec: { selector, maxUnavailable: 1 } }),
    object('apps/v1', 'Deployment', { spec: deployment(desired, place, { selector, hasSecret: data !== undefined }) }),
    object('v1', 'Service', { spec: serviceSpec(desired) }),
    ...(isScaledByLoad(desired)
      ? [object('autoscaling/v2', 'HorizontalPodAutoscaler', { spec: autoscaler(desired) })]
      : []),
  ];
}

/** The objects without what is in their secrets, for a plan that anybody may read. */
export function withoutSecrets(objects: readonly KubernetesObject[]): KubernetesObject[] {
  return objects.map((object) => {
    if (object.kind !== 'Secret') return object;
    const keys = Object.keys(object['data'] as Record<string, string>);
    return {
      ...object,
      data: Object.fromEntries(keys.map((key) => [key, Buffer.from('[secret]').toString('base64')])),
    };
  });
}

function secretData({ settings, secrets }: DesiredService): Record<string, string> | undefined {
  const callers = callersFile(settings, secrets);
  const files = {
    ...(callers === undefined ? {} : { 'keys.json': callers }),
    ...(secrets.tls === undefined ? {} : { 'tls.crt': secrets.tls.certificate, 'tls.key': secrets.tls.key }),
  };
  const entries = Object.entries(files).map(([file, text]) => [file, Buffer.from(text).toString('base64')]);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function networkPolicy(podSelector: object): object {
  const tcp = (port: number): object => ({ protocol: 'TCP', port });
  return {
    podSelector,
    policyTypes: ['Ingress'],
    ingress: [
      { ports: [tcp(ports.http)] },
      // Health and metrics are for the cluster alone.
      { from: [{ namespaceSelector: {} }], ports: [tcp(ports.health)] },
    ],
  };
}

function serviceSpec({ name, secrets }: DesiredService): object {
  const isTls = secrets.tls !== undefined;
  return {
    type: 'LoadBalancer',
    selector: labelsOf(name),
    ports: [{ name: isTls ? 'https' : 'http', port: isTls ? 443 : 80, targetPort: 'http', protocol: 'TCP' }],
  };
}

/** More replicas come at once, and go when less load has lasted. */
function autoscaler({ name, settings }: DesiredService): object {
  const target = { type: 'Utilization', averageUtilization: settings.autoscaleTargetUtilization ?? 70 };
  return {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
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

function deployment(
  desired: DesiredService,
  { image }: ObjectPlace,
  of: { selector: object; hasSecret: boolean },
): object {
  const { name, settings } = desired;
  const scoringSeconds = Math.ceil(settings.scoringTimeoutMs / 1000);
  return {
    // Where an autoscaler decides, the number of replicas is not ours to say.
    ...(isScaledByLoad(desired) ? {} : { replicas: settings.numReplicas ?? 1 }),
    revisionHistoryLimit: 3,
    progressDeadlineSeconds: progressSeconds,
    selector: of.selector,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: {
        labels: labelsOf(name),
        annotations: {
          'prometheus.io/scrape': 'true',
          'prometheus.io/port': String(ports.health),
          'prometheus.io/path': '/metrics',
        },
      },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: drainSeconds + scoringSeconds + 5,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: user,
          runAsGroup: user,
          fsGroup: user,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        containers: [container(desired, { image, hasSecret: of.hasSecret })],
        volumes: [
          { name: 'data', emptyDir: {} },
          { name: 'tmp', emptyDir: {} },
          ...(of.hasSecret ? [{ name: 'secrets', secret: { secretName: secretName(name), defaultMode: 0o440 } }] : []),
        ],
      },
    },
  };
}

function container(desired: DesiredService, { image, hasSecret }: { image: string; hasSecret: boolean }): object {
  const { settings } = desired;
  const health = (path: string): object => ({ httpGet: { path, port: 'health' } });
  return {
    name: 'scoring',
    image,
    env: Object.entries(environmentOf(desired)).map(([name, value]) => ({ name, value })),
    ports: [
      { name: 'http', containerPort: ports.http, protocol: 'TCP' },
      { name: 'health', containerPort: ports.health, protocol: 'TCP' },
    ],
    resources: resourcesOf(desired),
    startupProbe: {
      ...health('/v2/health/ready'),
      periodSeconds: 1,
      timeoutSeconds: settings.timeoutSeconds,
      failureThreshold: progressSeconds,
    },
    readinessProbe: {
      ...health('/v2/health/ready'),
      periodSeconds: 2,
      timeoutSeconds: settings.timeoutSeconds,
      successThreshold: settings.successThreshold,
    },
    livenessProbe: {
      ...health('/v2/health/live'),
      initialDelaySeconds: settings.initialDelaySeconds,
      periodSeconds: settings.periodSeconds,
      timeoutSeconds: settings.timeoutSeconds,
      failureThreshold: settings.failureThreshold,
    },
    lifecycle: { preStop: { sleep: { seconds: drainSeconds } } },
    // What it wrote last says why it failed.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    volumeMounts: [
      { name: 'data', mountPath: dataFolder },
      { name: 'tmp', mountPath: '/tmp' },
      ...(hasSecret ? [{ name: 'secrets', mountPath: secretsFolder, readOnly: true }] : []),
    ],
  };
}

function environmentOf(desired: DesiredService): Record<string, string> {
  const { settings, secrets } = desired;
  return {
    ...scoringEnvironment(desired),
    MODELFERRY_DATA_DIR: dataFolder,
    MODELFERRY_HEALTH_PORT: String(ports.health),
    ...(callersFile(settings, secrets) === undefined ? {} : { MODELFERRY_KEYS_FILE: `${secretsFolder}/keys.json` }),
    ...(secrets.tls === undefined
      ? {}
      : {
          MODELFERRY_TLS_CERTIFICATE_FILE: `${secretsFolder}/tls.crt`,
          MODELFERRY_TLS_KEY_FILE: `${secretsFolder}/tls.key`,
        }),
  };
}

function resourcesOf({ settings }: DesiredService): object {
  const { cpuCores, memoryGb, cpuCoresLimit, memoryGbLimit, gpuCores } = settings;
  const milli = (cores: number): string => `${Math.round(cores * 1000)}m`;
  const mebi = (gb: number): string => `${Math.round(gb * 1024)}Mi`;
  const gpu = gpuCores > 0 ? { 'nvidia.com/gpu': String(gpuCores) } : {};
  const limits = {
    ...(cpuCoresLimit === undefined ? {} : { cpu: milli(cpuCoresLimit) }),
    ...(memoryGbLimit === undefined ? {} : { memory: mebi(memoryGbLimit) }),
    ...gpu,
  };
  return {
    requests: { cpu: milli(cpuCores), memory: mebi(memoryGb), ...gpu },
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  };
}
