import { existsSync, writeFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { type CommitThreadData, runCommitThread } from '../../../agent/collect/run-commit-thread.ts';

// A commit thread that fails at its twentieth message, and not again.
const failed = `${(workerData as CommitThreadData).databasePath}.failed`;
let messages = 0;
parentPort?.on('message', () => {
  messages += 1;
  if (messages < 20 || existsSync(failed)) return;
  writeFileSync(failed, '');
  throw new Error('the thread fails');
});
runCommitThread();
