import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { fields } from '../../shared/text-layout.ts';
import type { CommandResult } from '../cli/result.ts';
import { type Accelerable, fallbackNames, readAccelerable } from '../models/accelerable.ts';
import type { Model } from '../models/model.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** Most nodes that are named in the text; the JSON has all. */
const namedMax = 5;

/** Tells what an accelerator could make of a model. */
export async function modelContents(
  workspace: Workspace,
  model: Model,
): Promise<CommandResult & { readonly json: { readonly accelerable: Accelerable | null } }> {
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const found = await readAccelerable(layout, model);
  return {
    json: { accelerable: found ?? null },
    text: fields({ 'on an accelerator': found === undefined ? 'not known: its layer is not here' : textOf(found) }),
  };
}

function textOf({ nodes, fallbacks, openTensors }: Accelerable): string {
  const accelerated = nodes - fallbacks.length;
  return [
    `${accelerated} of ${nodes} nodes in integers (QDQ)${openTensors.length === 0 ? ', fixed shapes' : ''}`,
    ...(openTensors.length === 0 ? [] : [`open shapes: ${openTensors.join(', ')}`]),
    ...(fallbacks.length === 0 ? [] : [`on the processor: ${fallbackNames(fallbacks, namedMax)}`]),
  ].join('\n');
}
