import { expect, test } from 'vitest';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { type FerryRun, runFerry } from '../../ferry.ts';
import { Rig } from '../rig.ts';

/** What `agent check` printed, by check. */
interface Checked {
  readonly checks: readonly { readonly name: string; readonly outcome: string; readonly found: string }[];
}

function runCheck(
  rig: Rig,
  changes: { connectionString?: string; json?: boolean; trusted?: string } = {},
): Promise<FerryRun> {
  const { connectionString = rig.connectionString, json = true, trusted } = changes;
  const place = ['--ca', rig.caFile, '--state', rig.stateFolder, ...(json ? ['--json'] : [])];
  const env = {
    FERRY_DEVICE_CONNECTION_STRING: connectionString,
    ...(trusted === undefined ? {} : { NODE_EXTRA_CA_CERTS: trusted }),
  };
  return runFerry(['agent', 'check', ...place], { cwd: rig.folder, env });
}

function outcomes({ stdout }: FerryRun): Record<string, string> {
  return Object.fromEntries((JSON.parse(stdout) as Checked).checks.map(({ name, outcome }) => [name, outcome]));
}

test('agent check finds all well beside an agent that runs, and does not disturb it', async () => {
  await using azurite = await openAzurite();
  // The hub is in this process, the check in one of its own.
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const run = await runCheck(rig, { trusted: azurite.caFile });
  const registry = `registry ${rig.registry.host}`;
  const { disk: _disk, ...rest } = outcomes(run);
  expect(rest).toEqual({
    folder: 'ok',
    engine: 'ok',
    hub: 'ok',
    clock: 'ok',
    'identity and storage': 'ok',
    [registry]: 'ok',
  });
  expect(await rig.callMethod('ping', null)).toMatchObject({ status: 200 });
}, 40_000);

test('agent check says what is wrong and what to do: key, clock, image', async () => {
  await using rig = await Rig.open();
  const wrong = btoa('a wrong key');
  rig.hub.faults.change({ clockSkewMs: 3_600_000 });
  const connectionString = rig.connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${wrong}`);
  const run = await runCheck(rig, { connectionString, json: false });
  expect(run.code).toBe(1);
  expect(run.stdout).toMatch(/^error +clock +this machine is 3[56]\d\d s behind the hub\n +Set the clock/m);
  expect(run.stdout).toMatch(/^error +identity and storage +Cannot ask the hub/m);
  expect(run.stdout).toContain('Check the key in the connection string');
  expect(run.stderr).toMatch(/^error CHECK_FAILED: Cannot run the agent well: \d of 6 checks failed\n$/);
  expect(run.stdout + run.stderr).not.toContain(wrong);
}, 40_000);

test('agent check without a hub says that it does not answer', async () => {
  await using rig = await Rig.open();
  const run = await runCheck(rig, { connectionString: 'HostName=localhost:1;DeviceId=gate;SharedAccessKey=YQ==' });
  expect(run.code).toBe(1);
  expect(outcomes(run)).toMatchObject({ hub: 'error', clock: 'error', 'identity and storage': 'error', folder: 'ok' });
  expect(run.stdout).toContain('ECONNREFUSED');
}, 40_000);
