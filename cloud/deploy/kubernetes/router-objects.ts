import type { DesiredService } from '../deployer.ts';
import { serviceVersions } from '../settings/service-versions.ts';
import { drainSeconds, innerName, ports, routerLabels } from './object-names.ts';
import { containerSecurity, podSecurity, scrapeAnnotations } from './pod-template.ts';
import { tlsEnvironment, secretVolume } from './service-secret.ts';

/** Pods that route: two, so that one may go. */
const replicas = 2;
/** How long one may take until it is ready, in seconds. */
const startSeconds = 60;
/** Port of a version within the cluster. */
export const innerPort = 80;

/**
 * Gives the deployment of the pods that share requests out between versions: the program is in every scoring image, so no other one is
 * pulled. They find the versions by the variables that Kubernetes gives pods for the services of their namespace, which have to be there before.
 */
export function routerDeployment(desired: DesiredService, image: string): object {
  const { name, settings, secrets } = desired;
  const probe = (path: string): object => ({
    httpGet: { path, port: 'health' },
    timeoutSeconds: settings.timeoutSeconds,
  });
  const hasTls = secrets.tls !== undefined;
  const env = [
    { name: 'MODELFERRY_ROUTES', value: JSON.stringify(routesOf(desired)) },
    { name: 'MODELFERRY_PORT', value: String(ports.http) },
    { name: 'MODELFERRY_HEALTH_PORT', value: String(ports.health) },
    { name: 'SCORING_TIMEOUT_MS', value: String(settings.scoringTimeoutMs) },
    ...tlsEnvironment(desired),
  ];
  return {
    replicas,
    revisionHistoryLimit: 3,
    progressDeadlineSeconds: startSeconds,
    selector: { matchLabels: routerLabels(name) },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: { labels: routerLabels(name), annotations: scrapeAnnotations },
      spec: {
        automountServiceAccountToken: false,
        enableServiceLinks: true,
        terminationGracePeriodSeconds: drainSeconds + Math.ceil(settings.scoringTimeoutMs / 1000) + 5,
        securityContext: podSecurity,
        containers: [
          {
            name: 'router',
            image,
            args: ['route'],
            env,
            ports: [
              { name: 'http', containerPort: ports.http, protocol: 'TCP' },
              { name: 'health', containerPort: ports.health, protocol: 'TCP' },
            ],
            resources: { requests: { cpu: '100m', memory: '128Mi' } },
            startupProbe: { ...probe('/v2/health/ready'), periodSeconds: 1, failureThreshold: startSeconds },
            readinessProbe: { ...probe('/v2/health/ready'), periodSeconds: 2 },
            livenessProbe: { ...probe('/v2/health/live'), periodSeconds: settings.periodSeconds },
            lifecycle: { preStop: { sleep: { seconds: drainSeconds } } },
            terminationMessagePolicy: 'FallbackToLogsOnError',
            securityContext: containerSecurity,
            volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }, ...(hasTls ? [secretVolume(name).mount] : [])],
          },
        ],
        volumes: [{ name: 'tmp', emptyDir: {} }, ...(hasTls ? [secretVolume(name).volume] : [])],
      },
    },
  };
}

function routesOf({ name, settings }: DesiredService): object[] {
  return serviceVersions(settings).map((version) => ({
    name: version.name,
    // Kubernetes, "Service discovery, environment variables": {SVCNAME}_SERVICE_HOST.
    host: `$(${innerName(name, version.name).toUpperCase().replaceAll('-', '_')}_SERVICE_HOST)`,
    port: innerPort,
    percent: version.percent,
    mirrorPercent: version.mirrorPercent,
  }));
}
