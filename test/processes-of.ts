import { readdir, readFile } from 'node:fs/promises';

/** Gives the marks of the processes that the engines below a folder have started and that still run, where there is `/proc`. */
export async function processesOf(folder: string): Promise<readonly string[]> {
  const pids = await readdir('/proc').catch(() => []);
  const environments = await Promise.all(
    pids.filter((name) => /^\d+$/.test(name)).map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')),
  );
  return environments
    .flatMap((environment) => environment.split('\0'))
    .filter((variable) => variable.startsWith(`MODELFERRY_PROCESS=${folder}/`));
}
