import { DataContainer } from '../../../cloud/azure/data-container.ts';
import { pullData } from '../../../cloud/data/pull.ts';
import { Workspace } from '../../../cloud/workspace/workspace.ts';

// Pulls into a file, for tests that kill it: `pulling-process.ts FOLDER OUT`. It prints what it took of memory.
const [folder = '', out = ''] = process.argv.slice(2);
using workspace = await Workspace.open(folder);
const container = await DataContainer.open(workspace);
const report = await pullData(container, {
  scope: workspace.scope,
  filter: { service: 'digits' },
  out,
  skipDamaged: false,
  signal: new AbortController().signal,
  onProgress: () => {},
});
const { maxRSS } = process.resourceUsage();
process.stdout.write(`${JSON.stringify({ ...report, peakBytes: maxRSS * 1024 })}\n`);
