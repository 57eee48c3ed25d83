import { fileURLToPath } from 'node:url';
import { Workspace } from '../../cloud/workspace/workspace.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** The models that tests register. */
export const digitsFile = fileURLToPath(new URL('../../simulators/quickstart/digits/digits-mlp.onnx', import.meta.url));
export const logisticFile = fileURLToPath(
  new URL('../../simulators/quickstart/digits/digits-logistic.onnx', import.meta.url),
);

/** A workspace in a folder of its own. */
export interface WorkspaceRig extends AsyncDisposable {
  readonly folder: string;
  readonly workspace: Workspace;
}

/** Makes a workspace that goes when the test's scope ends, in a new folder or in the given one. */
export async function workspaceRig(parent?: string): Promise<WorkspaceRig> {
  const temporary = parent === undefined ? await temporaryFolder() : undefined;
  const folder = parent ?? temporary?.path ?? '';
  const workspace = await Workspace.create(folder, { name: 'test' });
  return {
    folder,
    workspace,
    [Symbol.asyncDispose]: async () => {
      workspace[Symbol.dispose]();
      await temporary?.[Symbol.asyncDispose]();
    },
  };
}
