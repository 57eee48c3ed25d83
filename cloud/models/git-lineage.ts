import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Lineage } from './lineage.ts';

/** Git answers in milliseconds; a work tree on a slow network is not waited for. */
const timeoutMs = 5_000;

/** What Git knows of a model. */
export type GitLineage = Pick<Lineage, 'gitCommit' | 'gitBranch' | 'gitDirty' | 'gitRepository'>;

/** Gives what Git knows of the model at a path: of its folder, or else of the one that this process is in. */
export function gitLineageOf(path: string): Promise<GitLineage> {
  return gitLineage([dirname(resolve(path)), process.cwd()]);
}

/** Gives what Git knows of the first of some folders that is in a work tree with a commit; nothing where there is none, or no Git. */
export async function gitLineage(folders: readonly string[]): Promise<GitLineage> {
  for (const folder of folders.filter(mayBeInWorkTree)) {
    const gitCommit = await git(folder, ['rev-parse', '--verify', 'HEAD']);
    if (gitCommit === undefined) continue;
    const [gitBranch, changes, repository] = await Promise.all([
      git(folder, ['symbolic-ref', '--short', '--quiet', 'HEAD']),
      git(folder, ['status', '--porcelain', '--untracked-files=no']),
      git(folder, ['config', '--get', 'remote.origin.url']),
    ]);
    return {
      gitCommit,
      gitDirty: changes !== '',
      ...(gitBranch !== undefined && { gitBranch }),
      ...(repository !== undefined && { gitRepository: withoutSecrets(repository) }),
    };
  }
  return {};
}

/** Says whether Git would find something: it is asked elsewhere for nothing, and takes 10 ms to say so. */
function mayBeInWorkTree(folder: string): boolean {
  if (process.env['GIT_DIR'] !== undefined) return true;
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return true;
    if (at === dirname(at)) return false;
  }
}

/** Runs Git, which changes nothing and starts no program that the work tree names; gives undefined where it fails. */
async function git(folder: string, args: readonly string[]): Promise<string | undefined> {
  const env = { ...process.env, GIT_OPTIONAL_LOCKS: '0' };
  const { execFile } = process.getBuiltinModule('node:child_process');
  try {
    const { stdout } = await promisify(execFile)('git', ['-C', folder, '-c', 'core.fsmonitor=false', ...args], {
      env,
      timeout: timeoutMs,
    });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

/** Takes user and password out of a repository's address. */
function withoutSecrets(address: string): string {
  return address.replace(/^([a-z+]+:\/\/)[^/@]*@/i, '$1');
}
