import Database from 'better-sqlite3';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { takeVersion } from '../../../cloud/workspace/database.ts';
import { Workspace } from '../../../cloud/workspace/workspace.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

test('Workspace.create() makes a workspace that open() finds from a folder below', async () => {
  await using folder = await temporaryFolder();
  using created = await Workspace.create(folder.path, { name: 'lab' });
  await mkdir(join(folder.path, 'a', 'b'), { recursive: true });
  using opened = await Workspace.open(join(folder.path, 'a', 'b'));
  expect(opened.folder).toBe(created.folder);
  expect(opened.scope).toBe('00000000-0000-0000-0000-000000000000/local/lab');
});

test('Workspace.create() refuses a folder that has one, and leaves that as it is', async () => {
  await using folder = await temporaryFolder();
  using _first = await Workspace.create(folder.path, { name: 'first' });
  await expect(Workspace.create(folder.path, { name: 'second' })).rejects.toMatchObject({ code: 'WORKSPACE_EXISTS' });
  using opened = await Workspace.open(folder.path);
  expect(opened.config.name).toBe('first');
});

test('Workspace.open() says where it looked when there is none', async () => {
  await using folder = await temporaryFolder();
  await expect(Workspace.open(folder.path)).rejects.toMatchObject({
    code: 'WORKSPACE_NOT_FOUND',
    message: expect.stringContaining(folder.path) as string,
  });
});

test('Workspace.open() refuses a configuration that a newer version wrote, and leaves it as it is', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  const path = join(workspace.folder, 'workspace.json');
  const newer = JSON.stringify({ ...workspace.config, formatVersion: 2, novelty: true });
  await writeFile(path, newer);
  await expect(Workspace.open(folder.path)).rejects.toMatchObject({ code: 'WORKSPACE_TOO_NEW' });
  expect(await readFile(path, 'utf8')).toBe(newer);
});

test('Workspace.database refuses a schema that a newer version wrote, and leaves it as it is', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  const path = join(workspace.folder, 'workspace.db');
  {
    const database = new Database(path);
    database.pragma('user_version = 99');
    database.close();
  }
  expect(() => workspace.database).toThrow(expect.objectContaining({ code: 'WORKSPACE_TOO_NEW' }) as Error);
  const database = new Database(path);
  expect(database.pragma('user_version', { simple: true })).toBe(99);
  database.close();
});

test('Workspace.database names the file when it is damaged', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  await writeFile(join(workspace.folder, 'workspace.db'), 'this is no database, whatever its name says');
  expect(() => workspace.database).toThrow(
    expect.objectContaining({
      code: 'WORKSPACE_CORRUPT',
      message: expect.stringContaining('workspace.db') as string,
    }) as Error,
  );
});

test('Workspace.open() names what is wrong in a damaged configuration', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  await writeFile(join(workspace.folder, 'workspace.json'), '{"formatVersion":1,"name":""}');
  await expect(Workspace.open(folder.path)).rejects.toMatchObject({
    code: 'WORKSPACE_CORRUPT',
    message: expect.stringContaining('name') as string,
  });
});

test('setEndpoints() keeps secrets apart, in a file for the owner alone', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  await workspace.setEndpoints({ registry: 'localhost:5000' }, { hubConnectionString: 'HostName=h' });
  const { mode } = await stat(join(workspace.folder, 'secrets.json'));
  expect(mode & 0o777).toBe(0o600);
  expect(await readFile(join(workspace.folder, 'workspace.json'), 'utf8')).not.toContain('HostName');
  using opened = await Workspace.open(folder.path);
  expect(opened.config.endpoints).toEqual({ registry: 'localhost:5000' });
  expect(await opened.secrets()).toEqual({ hubConnectionString: 'HostName=h' });
});

test('takeVersion() counts up from 1 for each kind and name', async () => {
  await using folder = await temporaryFolder();
  using workspace = await Workspace.create(folder.path, { name: 'lab' });
  const { database } = workspace;
  const taken = [
    takeVersion(database, 'model', 'digits'),
    takeVersion(database, 'model', 'digits'),
    takeVersion(database, 'model', 'churn'),
    takeVersion(database, 'image', 'digits'),
  ];
  expect(taken).toEqual([1, 2, 1, 1]);
});
