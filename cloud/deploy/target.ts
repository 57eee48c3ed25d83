import { FerryError } from '../../shared/errors.ts';
import { modelNameProblem } from '../../shared/model/name.ts';

/** What a service may run on, by Azure ML's words. */
export const targetKinds = ['local', 'aci', 'aks', 'fpga', 'iotedge'] as const;

/** One kind of what a service may run on. */
export type TargetKind = (typeof targetKinds)[number];

/** Where a service runs: a kind of target, and which one of the workspace's computes where there may be several. */
export interface TargetReference {
  readonly kind: TargetKind;
  /** Name of a compute in `workspace.json`. @default the kind's own place: this machine, the workspace's hub or subscription */
  readonly compute?: string;
}

/**
 * Reads a target as users write it: `local`, `iotedge`, `aks/prod`.
 * @throws {FerryError} SERVICE_INVALID when there is no such kind, or the name of the compute is none
 */
export function parseTarget(text: string): TargetReference {
  const [kind = '', compute, ...more] = text.split('/');
  const known = targetKinds.find((name) => name === kind);
  const isNamed = compute === undefined || modelNameProblem(compute) === undefined;
  if (known !== undefined && isNamed && more.length === 0)
    return compute === undefined ? { kind: known } : { kind: known, compute };
  const wanted = `one of ${targetKinds.join(', ')} was wanted, with "/" and the name of a compute where there are several`;
  throw new FerryError('SERVICE_INVALID', `Cannot use the target "${text}": ${wanted}`);
}

/** Writes a target as users do. */
export function targetText({ kind, compute }: TargetReference): string {
  return compute === undefined ? kind : `${kind}/${compute}`;
}
