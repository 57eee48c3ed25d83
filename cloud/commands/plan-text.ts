import { stringify } from 'yaml';
import type { CommandResult } from '../cli/result.ts';
import type { DeployPlan } from '../deploy/deployer.ts';

/** Writes what would be done: the steps, then what would be sent, as YAML. */
export function planText({ steps, documents }: DeployPlan): CommandResult {
  const lines = steps.length === 0 ? ['# Nothing to do.'] : steps.map((step) => `# ${step}`);
  const sent = documents.map((document) => stringify(document, { lineWidth: 0 }).trimEnd());
  return { json: { steps, documents }, text: [lines.join('\n'), ...sent].join('\n---\n') };
}
