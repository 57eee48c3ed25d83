import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { type Clock, systemClock } from '../../shared/clock.ts';
import type { OpenEngineOptions } from '../../shared/containers/open-engine.ts';
import { PullingEngine } from '../../shared/containers/pulling-engine.ts';
import type { Logger } from '../../shared/log.ts';
import type { Certificates } from '../certificates.ts';
import { type Accounts, accountRoutes } from './account-routes.ts';
import { ArmError } from './arm-error.ts';
import { EngineWatch } from './container-groups/engine-watch.ts';
import { ContainerGroups } from './container-groups/groups.ts';
import { containerGroupRoutes } from './container-groups/routes.ts';
import { answerControl } from './control-routes.ts';
import { Entra } from './entra.ts';
import { Faults } from './faults.ts';
import { listen } from './listener.ts';
import { managedClusterRoutes } from './managed-cluster-routes.ts';
import { Operations } from './operations.ts';
import { type ArmAnswer, type ArmRequest, checkApiVersion, findRoute, type Route } from './route.ts';
import { firstResourceGroup, StateFile } from './state.ts';
import { findResourceGroup, subscriptionRoutes } from './subscription-routes.ts';

/** The settings of {@link startArm}. */
export interface ArmOptions {
  /** Where its state, images and volumes are kept. */
  readonly folder: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly certificates: Certificates;
  /** @default '00000000-0000-0000-0000-000000000000', as a workspace without Azure has it */
  readonly subscriptionId?: string;
  /** What runs containers. @default 'auto' */
  readonly engine?: OpenEngineOptions['engine'];
  readonly accounts?: Accounts;
  /** Where the kubeconfig of the managed cluster is, or will be. @default there is no cluster */
  readonly kubeconfigFile?: string;
  /** How long a container that ended waits before it is started again, at first. @default 1_000 */
  readonly backOffMs?: number;
  readonly clock?: Clock;
  readonly log: Logger;
}

/** A Resource Manager that runs. */
export interface Arm extends AsyncDisposable {
  /** `https://localhost:PORT`, both of Resource Manager and of the sign-in. */
  readonly endpoint: string;
  readonly port: number;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** What can be made to go wrong. */
  readonly faults: Faults;
}

/**
 * Starts Azure Resource Manager for one subscription, with the sign-in to it. Container groups really run on this machine, and end when
 * it ends; those that were not stopped are started again the next time.
 * @throws {FerryError} ENGINE_FAILED when the engine is to be Docker and none answers
 */
export async function startArm(options: ArmOptions): Promise<Arm> {
  const { folder, port, certificates, engine = 'auto', clock = systemClock, log } = options;
  await using parts = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  const file = await StateFile.open(folder, options.subscriptionId ?? '00000000-0000-0000-0000-000000000000');
  const { state } = file;
  const faults = new Faults();
  const entra = new Entra(state, faults, clock);
  const operations = new Operations();
  const pulling = await PullingEngine.open({ engine, folder, owner: state.owner, log });
  const groups = new ContainerGroups({
    pulling,
    watch: new EngineWatch(pulling.engine),
    faults,
    clock,
    backOffMs: options.backOffMs ?? 1_000,
    file,
    operations,
    folder: join(folder, 'groups'),
    log,
  });
  const routes = [
    ...subscriptionRoutes({ file, groups, operations }),
    ...containerGroupRoutes({
      groups,
      operations,
      faults,
      state,
      resourceGroup: (name) => findResourceGroup(file, name),
    }),
    ...accountRoutes(state, options.accounts ?? {}),
    ...managedClusterRoutes(state, options.kubeconfigFile),
  ];
  const listener = parts.use(
    await listen({
      port,
      certificates,
      log,
      answer: async (request) => {
        const signIn = entra.answer({ ...request, parameters: {} });
        if (signIn !== undefined) return signIn;
        entra.check(request);
        const own = await answerControl(request, { faults, file });
        if (own !== undefined) return own;
        faults.check();
        return await answerFrom(routes, request, state.subscriptionId);
      },
    }),
  );
  parts.defer(() => groups.close());
  await groups.open();
  const running = parts.move();
  const { tenantId, subscriptionId, clientId, clientSecret } = state;
  return {
    endpoint: `https://localhost:${listener.port}`,
    port: listener.port,
    tenantId,
    subscriptionId,
    resourceGroup: firstResourceGroup,
    clientId,
    clientSecret,
    faults,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function answerFrom(
  routes: readonly Route[],
  request: Omit<ArmRequest, 'parameters'>,
  subscriptionId: string,
): Promise<ArmAnswer> {
  const { route, parameters } = findRoute(routes, request.method, request.url.pathname);
  checkApiVersion(route, request.url);
  const { subscription } = parameters;
  if (subscription !== undefined && subscription.toLowerCase() !== subscriptionId.toLowerCase()) {
    throw new ArmError(404, 'SubscriptionNotFound', `The subscription '${subscription}' could not be found.`);
  }
  return await route.answer({ ...request, parameters });
}
