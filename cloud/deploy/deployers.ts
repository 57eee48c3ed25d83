import { FerryError } from '../../shared/errors.ts';
import type { Compute } from '../workspace/config.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { Deployer, DeployerContext } from './deployer.ts';
import { type TargetKind, type TargetReference, targetText } from './target.ts';

/** What there is of one kind of target. */
interface Target {
  /** Kind of the computes that it may be on one of; none where there is one place only. */
  readonly compute?: Compute['kind'];
  /** Whether there is a place of its own too, for whoever names no compute. */
  readonly hasOwnPlace?: boolean;
  /** Loaded only when it is asked for: each brings clients that take long to load. */
  readonly open: (context: DeployerContext) => Promise<Deployer>;
}

/** The deployers that there are, one a target. */
const targets: { readonly [K in TargetKind]?: Target } = {
  local: { open: async (context) => (await import('./local/local.ts')).openLocal(context) },
  aks: {
    compute: 'kubernetes',
    open: async (context) => (await import('./kubernetes/kubernetes.ts')).openKubernetes(context),
  },
  aci: {
    compute: 'containerInstances',
    hasOwnPlace: true,
    open: async (context) => (await import('./aci/aci.ts')).openAci(context),
  },
  iotedge: { open: async (context) => (await import('./iotedge/iotedge.ts')).openIotEdge(context) },
};

/** Names of the targets that there are deployers for. */
export const deployedTargets = Object.keys(targets) as TargetKind[];

/**
 * Opens the deployer of a target.
 * @throws {FerryError} SERVICE_INVALID when there is none, or the compute is none of the workspace's
 * @throws {FerryError} what the target's own clients throw when they cannot be set up
 */
export async function openDeployer(
  workspace: Workspace,
  reference: TargetReference,
  signal: AbortSignal,
): Promise<Deployer> {
  const target = targets[reference.kind];
  if (target === undefined) {
    throw new FerryError(
      'SERVICE_INVALID',
      `Cannot deploy to "${targetText(reference)}": this version has no deployer for it, one of ${deployedTargets.join(', ')} was wanted`,
    );
  }
  return target.open({ workspace, compute: findCompute(workspace, reference, target), signal });
}

function findCompute(
  workspace: Workspace,
  reference: TargetReference,
  { compute: kind, hasOwnPlace = false }: Target,
): Compute | undefined {
  const doing = `deploy to "${targetText(reference)}"`;
  if (kind === undefined) {
    if (reference.compute === undefined) return undefined;
    throw new FerryError(
      'SERVICE_INVALID',
      `Cannot ${doing}: there is one place of that kind only, "${reference.kind}" was wanted`,
    );
  }
  if (hasOwnPlace && reference.compute === undefined) return undefined;
  const computes = Object.entries(workspace.config.computes ?? {}).filter(([, compute]) => compute.kind === kind);
  const named = reference.compute === undefined ? computes : computes.filter(([name]) => name === reference.compute);
  const [found, ...more] = named;
  if (found !== undefined && more.length === 0) return found[1];
  const names = computes.map(([name]) => `"${reference.kind}/${name}"`).join(', ');
  const wanted = names === '' ? `the workspace has no compute of kind ${kind}` : `one of ${names} was wanted`;
  throw new FerryError('SERVICE_INVALID', `Cannot ${doing}: ${wanted}`, {
    next: `Add one: ferry compute attach --help`,
  });
}
