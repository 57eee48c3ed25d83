import { isMainThread } from 'node:worker_threads';
import { Collector } from '../../../agent/collect/collector.ts';
import { startCommitThread } from '../../../agent/collect/commit-thread.ts';
import { runCommitThread } from '../../../agent/collect/run-commit-thread.ts';

// A scoring process without the scoring: collects rows 1, 2, 3, … of a run and prints how many are durable.
if (isMainThread) collect();
else runCommitThread();

function collect(): void {
  const [databasePath = '', run = '', rowsOfTick = '20'] = process.argv.slice(2);
  const thread = startCommitThread({
    entry: new URL(import.meta.url),
    databasePath,
    quota: { bytesMax: 1e9, policy: 'reject-new' },
    onFailure: (message) => process.stderr.write(`${message}\n`),
  });
  const collector = new Collector({ channel: thread, workspace: 'sub/rg/ws', service: 'digits' });
  let next = 1;
  setInterval(() => {
    for (let row = 0; row < Number(rowsOfTick); row += 1) {
      const tensors = [{ name: 'x', type: 'int32' as const, shape: [1, 2], data: Int32Array.of(Number(run), next) }];
      const ids = { correlationId: `${run}-${next}`, requestId: String(next), scoredAtMs: Date.now() };
      collector.collect({ model: 'm', version: 1, designation: 'inputs', tensors, ...ids });
      next += 1;
    }
    process.stdout.write(`${collector.counts.committed}\n`);
  }, 1);
}
