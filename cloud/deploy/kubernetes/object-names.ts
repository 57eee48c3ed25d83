import { defaultVersion } from '../settings/service-versions.ts';

/** Ports of pods. */
export const ports = { http: 5001, health: 5003 } as const;

/** User and group that scoring images are made for. */
export const user = 10_001;

/** How long a pod still takes requests after it was told to end, in seconds: load balancers hear of it in that time. */
export const drainSeconds = 5;

/** Labels that all of a service's objects and pods have. */
export function labelsOf(service: string): Record<string, string> {
  return { 'app.kubernetes.io/name': service, 'app.kubernetes.io/managed-by': 'modelferry' };
}

/** Label that tells pods of a service apart: those that score, by version, and those that route. */
export const componentLabel = 'app.kubernetes.io/component';

/** Label of the pods that share requests out between versions. */
export const routerComponent = 'router';

/** Labels of the pods of a version. */
export function versionLabels(service: string, version: string): Record<string, string> {
  return { ...labelsOf(service), [componentLabel]: version === defaultVersion ? 'scoring' : `scoring-${version}` };
}

/** Labels of the pods that route. */
export function routerLabels(service: string): Record<string, string> {
  return { ...labelsOf(service), [componentLabel]: routerComponent };
}

/** Name of the objects that run a version. */
export function workloadName(service: string, version: string): string {
  return version === defaultVersion ? service : innerName(service, version);
}

/** Name of the address that a version has within the cluster. */
export function innerName(service: string, version: string): string {
  return `${service}-v-${version}`;
}

/** Name of the objects that route. */
export function routerName(service: string): string {
  return `${service}-router`;
}
