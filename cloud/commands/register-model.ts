import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { bytesText } from '../../shared/text-layout.ts';
import { startProgress } from '../cli/progress.ts';
import type { Session } from '../cli/session.ts';
import { gitLineageOf } from '../models/git-lineage.ts';
import { type Lineage, lineageSchema } from '../models/lineage.ts';
import type { Model } from '../models/model.ts';
import { registerModel, type RegisterOptions, type Registration } from '../models/register.ts';
import { registryBesideLayout } from '../workspace/registry.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** The settings of {@link registerShown}. */
interface RegisterShownOptions extends Pick<RegisterOptions, 'load' | 'pushesLayerOnly' | 'unlessSameAs'> {
  /** Whether it is pushed to the workspace's registry. @default true */
  readonly push?: boolean;
}

/**
 * Registers a model for a command: shows how far it is, and pushes it to the workspace's registry; where that fails, a note says so.
 * @throws {FerryError} as {@link registerModel} does
 */
export async function registerShown(
  { session, workspace }: { readonly session: Session; readonly workspace: Workspace },
  registration: Registration,
  { push = true, ...options }: RegisterShownOptions = {},
): Promise<Model> {
  const { name } = registration;
  using progress = startProgress(`Packing ${name}`, { format: bytesText });
  const registry = push ? registryBesideLayout(workspace) : undefined;
  return await registerModel(workspace, registration, {
    ...options,
    ...(registry && { registry }),
    onNotPushed: (reason) => session.note(`warning: ${name} is registered, and not pushed: ${reason.message}`),
    signal: session.signal,
    onProgress: (done, total) => progress.update(done, total),
  });
}

/** What is said of where a model comes from. */
interface SaidLineage extends Lineage {
  /** Whether Git is asked where no commit is said. @default true */
  readonly git?: boolean;
}

/**
 * Gives where the model at a path comes from: what is said, and what Git says of its folder, or else of this one.
 * @throws {FerryError} USAGE when what is said is outside of the rules
 */
export async function lineageOf(path: string, { git = true, ...said }: SaidLineage = {}): Promise<Lineage> {
  const asksGit = git && said.gitCommit === undefined;
  const asked = asksGit ? await gitLineageOf(path) : {};
  const given = Object.entries({ ...said, ...asked }).filter(([, value]) => value !== undefined);
  const read = lineageSchema.safeParse(Object.fromEntries(given));
  if (read.success) return read.data;
  throw new FerryError('USAGE', `Cannot register the model: ${z.prettifyError(read.error)}`);
}
