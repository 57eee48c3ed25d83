import type { Command } from 'commander';
import { addWork, positiveInteger } from '../cli/session.ts';
import type { CommandResult } from '../cli/result.ts';
import { pushService } from '../deploy/push.ts';
import { type Difference, diffService } from '../deploy/service-diff.ts';
import { readServiceFile } from '../deploy/service-file.ts';
import { pushText } from './push.ts';
import { deployOptions } from './service-change.ts';

interface ApplyFlags {
  readonly file: string;
  readonly diff?: boolean;
  readonly replace?: boolean;
  readonly timeout: number;
}

const example = `
A service as a file (paths are relative to it; a setting that is not given is as it is by itself):

  name: digits
  target: local                 # or aci, aks/prod, fpga/line, iotedge
  models:                       # or image: digits:3
    - { path: digits.onnx, name: digits, sample: rows.json }
  build: { script: score.ts }   # optional
  settings: { authEnabled: true, autoscaleMinReplicas: 1, autoscaleMaxReplicas: 4 }
  tags: { area: vision }

The settings are those of ferry service create --help, written as collectFormat for --collect-format.`;

/** Makes `ferry apply` bring about what a file says. */
export function addApply(verb: Command): void {
  const apply = verb
    .requiredOption('-f, --file <file>', 'the file that describes the service')
    .option('--diff', 'print in what the service differs from the file, and do nothing')
    .option('--replace', 'let modules go that devices run by another deployment')
    .option('--timeout <seconds>', 'how long it may take until it is Healthy', positiveInteger, 120)
    .addHelpText('after', example);
  addWork<ApplyFlags>(apply, async (session, flags) => {
    const request = await readServiceFile(flags.file);
    const workspace = await session.openWorkspace();
    if (flags.diff) return diffText(await diffService(workspace, request));
    const wait = { timeoutMs: flags.timeout * 1000, smokeTest: true };
    return pushText(await pushService(workspace, request, { ...deployOptions(session, flags), wait }));
  });
}

function diffText(differences: readonly Difference[]): CommandResult {
  const lines = differences.flatMap(({ what, is, wanted }) => [
    ...(is === undefined ? [] : [`- ${what}: ${JSON.stringify(is)}`]),
    ...(wanted === undefined ? [] : [`+ ${what}: ${JSON.stringify(wanted)}`]),
  ]);
  return { json: differences, text: lines.length === 0 ? 'No difference.' : lines.join('\n') };
}
