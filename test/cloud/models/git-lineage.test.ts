import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { gitLineage } from '../../../cloud/models/git-lineage.ts';
import { runFerry } from '../../ferry.ts';
import { hasCommand, runCommand } from '../../shared/oci/commands.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const hasGit = await hasCommand('git');

const git = (folder: string, ...args: string[]): Promise<string> =>
  runCommand('git', ['-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args]);

test.runIf(hasGit)('gitLineage() tells commit, branch, changes and repository, without its password', async () => {
  await using folder = await temporaryFolder();
  const commit = await workTree(folder.path);
  const lineage = { gitCommit: commit, gitBranch: 'topic', gitDirty: false, gitRepository: 'https://host/a/b.git' };
  expect(await gitLineage([folder.path])).toEqual(lineage);
  await writeFile(join(folder.path, 'untracked'), '');
  expect(await gitLineage([folder.path])).toEqual(lineage);
  await writeFile(join(folder.path, 'train.py'), 'changed');
  expect(await gitLineage([folder.path])).toEqual({ ...lineage, gitDirty: true });
});

test.runIf(hasGit)(
  'gitLineage() asks the first folder that is in a work tree, and runs nothing that one names',
  async () => {
    await using folder = await temporaryFolder();
    const [plain, tree] = [join(folder.path, 'plain'), join(folder.path, 'tree')];
    await mkdir(plain);
    await mkdir(tree);
    const commit = await workTree(tree);
    await git(tree, 'config', 'core.fsmonitor', `touch ${join(folder.path, 'ran')}`);
    expect(await gitLineage([plain, join(plain, 'none'), tree])).toMatchObject({ gitCommit: commit });
    expect(existsSync(join(folder.path, 'ran'))).toBe(false);
    expect(await gitLineage([plain])).toEqual({});
  },
);

test.runIf(hasGit)(
  'ferry model register takes the lineage of the work tree it stands in, unless it is told another or none',
  async () => {
    await using rig = await workspaceRig();
    await using elsewhere = await temporaryFolder();
    const model = join(elsewhere.path, 'm.onnx');
    await runCommand('cp', [digitsFile, model]);
    const commit = await workTree(rig.folder);
    const register = async (...args: string[]): Promise<unknown> => {
      const made = await runFerry(['model', 'register', model, '--name', 'd', '--json', ...args], { cwd: rig.folder });
      return JSON.parse(made.stdout);
    };
    expect(await register()).toMatchObject({
      lineage: { gitCommit: commit, gitBranch: 'topic', gitDirty: false },
      properties: {
        'git.commit': commit,
        'git.branch': 'topic',
        'git.dirty': 'false',
        'git.repository': 'https://host/a/b.git',
      },
    });
    expect(await register('--git-commit', '0123abc')).toMatchObject({
      lineage: { gitCommit: '0123abc' },
      properties: { 'git.commit': '0123abc' },
    });
    expect(await register('--no-git')).toMatchObject({ lineage: {}, properties: {} });
    const found = await runFerry(['model', 'list', '--property', `git.commit=${commit}`], { cwd: rig.folder });
    expect(found.stdout).toMatch(/\nd:1 /);
    const refused = await runFerry(['model', 'register', model, '--name', 'd', '--property', 'git.branch=main'], {
      cwd: rig.folder,
    });
    expect(refused.stderr).toContain('the property "git.branch" is "topic" by the lineage and stays so');
  },
);

test.runIf(hasGit)('ferry push registers a model with the lineage of its work tree', async () => {
  await using rig = await workspaceRig();
  const commit = await workTree(rig.folder);
  const model = join(rig.folder, 'm.onnx');
  await runCommand('cp', [digitsFile, model]);
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => void (await runFerry(['service', 'delete', 'pushed'], { cwd: rig.folder })));
  const pushed = await runFerry(['push', model, '--name', 'pushed', '--to', 'local'], { cwd: rig.folder });
  expect([pushed.code, pushed.stderr]).toEqual([0, expect.stringContaining('pushed: registering')]);
  const shown = await runFerry(['model', 'show', 'pushed', '--json'], { cwd: rig.folder });
  expect(JSON.parse(shown.stdout)).toMatchObject({ lineage: { gitCommit: commit, gitBranch: 'topic' } });
});

/** Makes a work tree with one commit, and gives that. */
async function workTree(folder: string): Promise<string> {
  await git(folder, 'init', '-q', '-b', 'topic');
  await git(folder, 'remote', 'add', 'origin', 'https://user:secret@host/a/b.git');
  await writeFile(join(folder, 'train.py'), '');
  await git(folder, 'add', 'train.py');
  await git(folder, 'commit', '-q', '-m', 'train');
  return (await git(folder, 'rev-parse', 'HEAD')).trim();
}
