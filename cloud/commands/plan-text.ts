import { stringify } from 'yaml';
import type { CommandResult } from '../cli/result.ts';
import type { DeployPlan } from '../deploy/deployer.ts';

/** Writes what would be done: the steps, then what would be sent, as YAML. */
export function planText({ steps, documents, places }: DeployPlan): CommandResult {
  const lines = steps.length === 0 ? ['# Nothing to do.'] : steps.map((step) => `# ${step}`);
  const sent = documents.map((document) => stringify(document, { lineWidth: 0 }).trimEnd());
  return { json: { steps, documents, ...(places && { places }) }, text: [lines.join('\n'), ...sent].join('\n---\n') };
}

/** Writes what each place will run, and the steps. */
export function placesText({ steps, places = [] }: DeployPlan): CommandResult {
  const lines = places.map(({ name, runs }) => [`${name}:`, ...runs.map((run) => `  ${run}`)].join('\n'));
  const todo = steps.length === 0 ? 'Nothing to do.' : steps.join('\n');
  return {
    json: { steps, places },
    text: [...(lines.length === 0 ? ['No device is meant yet.'] : lines), '', todo].join('\n'),
  };
}
