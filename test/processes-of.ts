import { markedProcesses } from '../shared/containers/process/process-identity.ts';

/** Gives the marks of the processes that the engines below a folder have started and that still run, where there is `/proc`. */
export async function processesOf(folder: string): Promise<readonly string[]> {
  const marked = await markedProcesses('MODELFERRY_PROCESS').catch(() => []);
  return marked.map(({ value }) => value).filter((mark) => mark.startsWith(`${folder}/`));
}
