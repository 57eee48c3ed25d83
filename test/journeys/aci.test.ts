import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { trustAlso } from '../../shared/tls-trust.ts';
import { digitsFile, logisticFile } from '../cloud/workspace-rig.ts';
import { type FerryRun, runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { findService } from './find-service.ts';
import { Insights } from './insights.ts';
import { scoreOverTls, tlsFlags, writeTls } from './tls-client.ts';

// A service on ACI from its creation to its deletion, by the command line, against the simulator.

const key = 'a-key-of-the-users-own';

test(
  'a service on ACI: create, score with a key, TLS, search, collect, Application Insights, update, a bad image, logs, delete',
  { timeout: 240_000 },
  async () => {
    await using folder = await temporaryFolder();
    const cwd = folder.path;
    await using world = await startLocalWorld(cwd, ['--only', 'registry,storage,arm', '--engine', 'process']);
    const { arm, caFile } = world.document;
    trustAlso(caFile);
    await using insights = await Insights.start(cwd);
    const ferry = async (...args: string[]): Promise<FerryRun> => {
      const run = await runFerry([...args], { cwd });
      for (const secret of [arm.clientSecret, insights.key]) expect(run.stdout + run.stderr).not.toContain(secret);
      return run;
    };
    const done = async (...args: string[]) => {
      const { code, stdout, stderr } = await ferry(...args, '--json');
      expect(stderr, `${args.join(' ')}: ${stderr}`).toSatisfy(() => code === 0);
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    const rows = join(cwd, 'rows.json');
    await writeFile(rows, firstRow());
    await done('model', 'register', digitsFile, '--name', 'digits');
    await done('model', 'register', logisticFile, '--name', 'logistic');
    await done('image', 'create', '--name', 'digits', '--model', 'digits');
    await writeTls(cwd);

    const labels = ['--tag', 'area=vision', '--property', 'run=7'];
    const target = ['--target', 'aci', '--collect', '--app-insights', ...tlsFlags, ...labels];
    const create = ['service', 'create', 'digits', '--image', 'digits:1', ...target];
    expect((await ferry(...create, '--dry-run')).stdout).toMatch(/APPLICATIONINSIGHTS_\w+\n\s+secureValue: \(secret\)/);
    const created = await done(...create, '--primary-key', key, '--wait', '--timeout', '60');
    expect(created).toMatchObject({
      state: 'Healthy',
      target: 'aci',
      scoringAddress: expect.stringMatching(/^https:\/\/127\./),
    });

    const scored = await done('service', 'run', 'digits', '--input', 'rows.json');
    expect(JSON.stringify(scored)).toContain('[');
    const address = String(created['scoringAddress']);
    const certificate = await readFile(join(cwd, 'tls.crt'), 'utf8');
    expect(await scoreOverTls(address, { certificate, key: 'not-a-key-of-this-service', body: firstRow() })).toBe(401);
    expect(await scoreOverTls(address, { certificate, key, body: firstRow() })).toBe(200);

    const before = await groups(arm);
    expect(before.map(({ name }) => name)).toEqual(['digits']);
    const shown = JSON.stringify(before);
    for (const secret of [key, Buffer.from(certificate).toString('base64'), insights.key])
      expect(shown).not.toContain(secret);
    expect(shown).toContain('APPLICATIONINSIGHTS_CONNECTION_STRING');
    await insights.untilArrived('digits');
    // The workspace keeps it where the user gave it, and nowhere else.
    const kept = await insights.filesWithKey();
    expect(kept.filter((file) => !file.startsWith('world'))).toEqual([]);

    await findService(cwd, 'digits', {
      model: 'digits:1',
      image: 'digits:1',
      digest: String(created['imageDigest']),
      target: 'aci',
      tag: 'area=vision',
      property: 'run=7',
    });

    // The same again: nothing to do.
    const same = await done('service', 'update', 'digits', '--wait');
    expect(same).toMatchObject({ state: 'Healthy', scoringAddress: address });
    expect((await groups(arm))[0]?.properties.containers).toEqual(before[0]?.properties.containers);

    // Another image keeps keys and address; its rows are collected from then on, too.
    await done('image', 'create', '--name', 'digits', '--model', 'digits', '--model', 'logistic');
    const updated = await done('service', 'update', 'digits', '--image', 'digits:2', '--wait', '--timeout', '60');
    expect(updated).toMatchObject({ state: 'Healthy', scoringAddress: address, image: 'digits:2' });
    expect(await scoreOverTls(address, { certificate, key, body: firstRow() })).toBe(200);

    // One that does not start is found out beside the service, which goes on untouched.
    const startedAt = await startTime(arm);
    const bad = await ferry(
      'service',
      'update',
      'digits',
      '--env',
      'MODELFERRY_WAITING_MAX=none',
      '--wait',
      '--timeout',
      '60',
    );
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('MODELFERRY_WAITING_MAX');
    expect(bad.stderr).toContain('it runs on with digits:2');
    expect(await startTime(arm)).toBe(startedAt);
    expect((await groups(arm)).map(({ name }) => name)).toEqual(['digits']);
    expect(await scoreOverTls(address, { certificate, key, body: firstRow() })).toBe(200);

    expect((await ferry('service', 'logs', 'digits')).stdout).toContain('"ready"');
    await until(async () => JSON.stringify(await done('data', 'list', '--service', 'digits')).includes('inputs'), {
      timeoutMs: 90_000,
    });

    await done('service', 'delete', 'digits');
    expect(await groups(arm)).toEqual([]);
    await until(async () => (await insights.filesWithKey()).length === 0, { what: 'a workspace without the key' });
    const listed = await runFerry(['service', 'list', '--json'], { cwd });
    expect(JSON.parse(listed.stdout)).toEqual([]);
  },
);

interface Group {
  readonly name: string;
  readonly properties: {
    readonly containers: readonly { properties: { instanceView: { currentState: { startTime: string } } } }[];
  };
}

async function groups(arm: {
  endpoint: string;
  tenantId: string;
  clientId: string;
  clientSecret: string;
  subscriptionId: string;
}): Promise<Group[]> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: arm.clientId,
    client_secret: arm.clientSecret,
    scope: 'https://management.azure.com/.default',
  });
  const token = (await (
    await fetch(`${arm.endpoint}/${arm.tenantId}/oauth2/v2.0/token`, { method: 'POST', body: form })
  ).json()) as { access_token: string };
  const path = `/subscriptions/${arm.subscriptionId}/providers/Microsoft.ContainerInstance/containerGroups?api-version=2023-05-01`;
  const answer = await fetch(`${arm.endpoint}${path}`, { headers: { authorization: `Bearer ${token.access_token}` } });
  return ((await answer.json()) as { value: Group[] }).value;
}

async function startTime(arm: Parameters<typeof groups>[0]): Promise<string | undefined> {
  return (await groups(arm))[0]?.properties.containers[0]?.properties.instanceView.currentState.startTime;
}

/** A request of one row for the digits model: a picture of nothing. */
function firstRow(): string {
  return JSON.stringify({ data: [Array.from({ length: 64 }, () => 0)] });
}
