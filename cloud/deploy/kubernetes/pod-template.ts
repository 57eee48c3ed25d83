import type { DesiredService } from '../deployer.ts';
import { scoringEnvironment } from '../scoring-environment.ts';
import { defaultVersion, serviceVersions } from '../settings/service-versions.ts';
import { podPlace, runtimeContainer } from './accelerator-objects.ts';
import { drainSeconds, ports, user, versionLabels } from './object-names.ts';
import type { ObjectPlace } from './service-objects.ts';
import { secretData, secretEnvironment, secretVolume, startSecretMark } from './service-secret.ts';

/** Where collected rows wait for their upload. */
const dataFolder = '/var/modelferry/data';
/** How long a new version may take without getting on, in seconds. */
const progressSeconds = 180;
/** The same beside an accelerator, whose runtime may compile the model first. */
const compileSeconds = 900;
/** Annotation that changes with what pods read at their start alone. */
const secretAnnotation = 'modelferry/start-secrets';
/** Annotation of pods behind a router: those before it came are replaced, for clients keep their connections to them. */
const routedAnnotation = 'modelferry/routed';

/** What runs in the pods of one version. */
export interface PodVersion {
  readonly name: string;
  /** By digest. */
  readonly image: string;
}

/** Gives what the pods of a version are made from: they meet the restricted pod security standard. */
export function podTemplate(desired: DesiredService, place: ObjectPlace, version: PodVersion): object {
  const { name, settings } = desired;
  const { acceleratorImage } = place;
  const scoringSeconds = Math.ceil(settings.scoringTimeoutMs / 1000);
  const secret = secretData(desired, place);
  const mark = startSecretMark(desired, place);
  return {
    metadata: {
      labels: versionLabels(name, version.name),
      annotations: {
        ...scrapeAnnotations,
        ...(mark !== undefined && { [secretAnnotation]: mark }),
        ...(serviceVersions(settings).length > 1 && { [routedAnnotation]: 'true' }),
      },
    },
    spec: {
      automountServiceAccountToken: false,
      // A service of whatever name would set variables that the scoring server reads: MODELFERRY_PORT.
      enableServiceLinks: false,
      terminationGracePeriodSeconds: drainSeconds + scoringSeconds + 5,
      securityContext: podSecurity,
      ...podPlace(desired),
      containers: [
        container(desired, version, secret),
        ...(acceleratorImage === undefined
          ? []
          : [
              runtimeContainer(desired, {
                image: acceleratorImage,
                drainSeconds,
                startSeconds: startSecondsOf(desired),
              }),
            ]),
      ],
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'tmp', emptyDir: {} },
        ...(acceleratorImage === undefined ? [] : [{ name: 'accelerator-tmp', emptyDir: {} }]),
        ...(secret === undefined ? [] : [secretVolume(name).volume]),
      ],
    },
  };
}

/** By which Prometheus finds the metrics of a pod. */
export const scrapeAnnotations = {
  'prometheus.io/scrape': 'true',
  'prometheus.io/port': String(ports.health),
  'prometheus.io/path': '/metrics',
};

/** What the restricted pod security standard wants of a pod. */
export const podSecurity = {
  runAsNonRoot: true,
  runAsUser: user,
  runAsGroup: user,
  fsGroup: user,
  seccompProfile: { type: 'RuntimeDefault' },
};

/** What it wants of a container. */
export const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

/** How long new pods may take until they are ready, in seconds. */
export function startSecondsOf({ settings }: DesiredService): number {
  return settings.acceleratorImage === undefined ? progressSeconds : compileSeconds;
}

/** Content of the service's secret, where it has one. */
type Secret = ReturnType<typeof secretData>;

function container(desired: DesiredService, version: PodVersion, secret: Secret): object {
  const { name, settings } = desired;
  const health = (path: string): object => ({ httpGet: { path, port: 'health' } });
  return {
    name: 'scoring',
    image: version.image,
    env: environmentOf(desired, version.name, secret),
    ports: [
      { name: 'http', containerPort: ports.http, protocol: 'TCP' },
      { name: 'health', containerPort: ports.health, protocol: 'TCP' },
    ],
    resources: resourcesOf(desired),
    startupProbe: {
      ...health('/v2/health/ready'),
      periodSeconds: 1,
      timeoutSeconds: settings.timeoutSeconds,
      failureThreshold: startSecondsOf(desired),
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
    securityContext: containerSecurity,
    volumeMounts: [
      { name: 'data', mountPath: dataFolder },
      { name: 'tmp', mountPath: '/tmp' },
      ...(secret === undefined ? [] : [secretVolume(name).mount]),
    ],
  };
}

function environmentOf(desired: DesiredService, version: string, secret: Secret = {}): object[] {
  const own = {
    ...scoringEnvironment(desired),
    MODELFERRY_DATA_DIR: dataFolder,
    MODELFERRY_HEALTH_PORT: String(ports.health),
    ...(version === defaultVersion ? {} : { SERVICE_VERSION: version }),
  };
  return [...Object.entries(own).map(([name, value]) => ({ name, value })), ...secretEnvironment(secret)];
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
