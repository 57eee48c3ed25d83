import {
  edgeAgentDesired,
  edgeLayer,
  edgeManifest,
  type ModuleToDeploy,
  type WireObject,
} from '../../../shared/edge/build-manifest.ts';
import { parseCreateOptions } from '../../../shared/edge/create-options.ts';
import { FerryError } from '../../../shared/errors.ts';
import type { CarriedModules } from './carried-modules.ts';

/** What a deployment brings: a service's own modules, and those that it carries. */
export interface DeploymentModules {
  readonly service: string;
  readonly own: Readonly<Record<string, ModuleToDeploy>>;
  readonly carried: CarriedModules | undefined;
  readonly isLayer: boolean;
  /** Where the device binds the port of the service. */
  readonly binding: { readonly address: string; readonly port: number };
}

/** The `content` of a deployment in the hub. */
export interface DeploymentContent {
  readonly modulesContent: Readonly<Record<string, WireObject>>;
}

/**
 * Merges a service's modules with those that it carries. A manifest that is carried brings its routes, its runtime and its system modules too, in
 * place of those that a service has by itself; of a layer modules and routes alone.
 * @throws {FerryError} DEPLOYMENT_INVALID naming all that is in each other's way
 */
export function deploymentContent(parts: DeploymentModules): DeploymentContent {
  const { service, own, carried, isLayer } = parts;
  if (carried === undefined) return isLayer ? edgeLayer(own) : edgeManifest({ modules: own });
  const problems = conflicts(parts, carried);
  if (problems.length > 0)
    throw new FerryError(
      'DEPLOYMENT_INVALID',
      `Cannot carry the other modules of "${service}": ${problems.join('; ')}`,
    );
  const { whole, modules, routes, twins } = carried;
  if (isLayer || whole === undefined) {
    const paths = (of: string, values: object): WireObject =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [`properties.desired.${of}.${name}`, value]));
    const $edgeHub = paths('routes', routes);
    return {
      modulesContent: {
        ...twins,
        $edgeAgent: { ...paths('modules', modules), ...edgeLayer(own).modulesContent['$edgeAgent'] },
        ...(Object.keys($edgeHub).length > 0 && { $edgeHub }),
      },
    };
  }
  // An order of starts came with schema 1.1.
  const isOrdered = Object.values(own).some(({ startupOrder }) => startupOrder !== undefined);
  const agent = { ...whole.agent, ...(isOrdered && { schemaVersion: '1.1' }) };
  const all = { ...modules, ...(edgeAgentDesired({ modules: own })['modules'] as WireObject) };
  return {
    modulesContent: {
      ...twins,
      $edgeAgent: { 'properties.desired': { ...agent, modules: all } },
      $edgeHub: { 'properties.desired': { ...whole.hub, routes } },
    },
  };
}

/** The content as it may be shown: without the passwords, which registries have and a module's own properties may have. */
export function withoutPasswords({ modulesContent }: DeploymentContent): DeploymentContent {
  const shown = JSON.stringify(modulesContent, (name, value: unknown) =>
    name === 'password' && typeof value === 'string' ? '(secret)' : value,
  );
  return { modulesContent: JSON.parse(shown) as DeploymentContent['modulesContent'] };
}

function conflicts({ service, own, isLayer, binding }: DeploymentModules, carried: CarriedModules): string[] {
  const { whole, modules, twins } = carried;
  return [
    ...Object.keys(modules)
      .filter((name) => Object.hasOwn(own, name))
      .map((name) => `the module "${name}" has the name of one that the service "${service}" brings itself`),
    ...Object.entries(modules)
      .filter(([, module]) => bindsPort(module, binding))
      .map(
        ([name]) =>
          `the module "${name}" binds the port ${binding.port} of the device, which "${service}" answers on: another --port was wanted`,
      ),
    ...(whole === undefined && !isLayer
      ? ['they are a layer, a whole manifest was wanted, or --layered for the service too']
      : []),
    ...(isLayer ? credentialsOf(carried) : []).map(
      (name) => `a layer does not bring the registry credentials "${name}", the deployment below it was wanted to`,
    ),
    // A layer may give desired properties to modules of the deployment below.
    ...(isLayer ? [] : Object.keys(twins))
      .filter((name) => !Object.hasOwn(modules, name) && !Object.hasOwn(own, name))
      .map((name) => `desired properties are given for the module "${name}", which there is not`),
  ];
}

function credentialsOf({ whole }: CarriedModules): string[] {
  const runtime = whole?.agent['runtime'] as { settings?: { registryCredentials?: object } } | undefined;
  return Object.keys(runtime?.settings?.registryCredentials ?? {});
}

function bindsPort(module: WireObject, { address, port }: DeploymentModules['binding']): boolean {
  const isAny = (one: string): boolean => ['', '0.0.0.0', '::'].includes(one);
  const { HostConfig } = parseCreateOptions(module['settings'] as WireObject);
  return Object.entries(HostConfig?.PortBindings ?? {}).some(
    ([inner, places]) =>
      !inner.endsWith('/udp') &&
      (places ?? []).some(
        ({ HostIp = '', HostPort }) =>
          HostPort === String(port) && (HostIp === address || isAny(HostIp) || isAny(address)),
      ),
  );
}
