import type { Command } from 'commander';
import { systemClock } from '../../shared/clock.ts';
import { FerryError } from '../../shared/errors.ts';
import { fields, table } from '../../shared/text-layout.ts';
import { HubClient } from '../azure/hub-client.ts';
import { startProgress } from '../cli/progress.ts';
import type { CommandResult } from '../cli/result.ts';
import { addWork, positiveInteger } from '../cli/session.ts';
import { readDeviceList } from '../fleet/device-list.ts';
import { countFleet, deviceStates, type FleetStatus, readFleet } from '../fleet/fleet-status.ts';
import { importDevices } from '../fleet/import-devices.ts';
import { knownImages } from '../fleet/known-images.ts';
import { watchTable } from './watch-table.ts';

interface StatusFlags {
  readonly where: string;
  readonly ringTag: string;
  readonly watch?: boolean;
  readonly every: number;
}

/** How many devices that failed a table names. */
const failuresShownMax = 20;

/** Adds `ferry edge device import`. */
export function addImport(noun: Command): void {
  const verb = noun
    .command('import')
    .description('add and tag the devices of a CSV file; those that are there are tagged, and nothing is done twice')
    .argument('<file>', 'a column deviceId, and a column for each tag; an empty field takes the tag away');
  addWork(verb, async (session, _flags, [file = '']) => {
    const devices = await readDeviceList(file);
    using hub = await HubClient.open(await session.openWorkspace(), session.signal);
    using progress = startProgress('import');
    const result = await importDevices(hub, devices, { onDone: (done, total) => progress.update(done, total) });
    const { added, tagged, unchanged, failures } = result;
    const rows = failures.slice(0, failuresShownMax).map(({ deviceId, errorStatus }) => [deviceId, errorStatus]);
    const counts = fields({ added, tagged, unchanged, failed: failures.length });
    return {
      json: { hub: hub.hostName, ...result },
      text: rows.length === 0 ? counts : `${counts}\n\n${table(['device', 'why'], rows)}`,
      ...(failures.length === 0 ? {} : { failure: someFailed(failures.length, devices.length) }),
    };
  });
}

/** Adds the verbs of `ferry edge fleet`. */
export function addFleetVerbs(noun: Command): void {
  const status = noun
    .command('status')
    .description('count the devices by state, ring and version')
    .option('--where <condition>', "only devices that this holds for, in the hub's own words", '*')
    .option('--ring-tag <tag>', 'the tag that rings are told apart by', 'ring')
    .option(
      '--watch',
      'draw it again and again, until Ctrl-C; on a terminal in the same place, else one after the other',
    )
    .option('--every <seconds>', 'how often, with --watch', positiveInteger, 5);
  addWork<StatusFlags>(status, async (session, { where, ringTag, watch, every }) => {
    const workspace = await session.openWorkspace();
    using hub = await HubClient.open(workspace, session.signal);
    const know = knownImages(workspace.database);
    const look = async (): Promise<CommandResult> => {
      const counted = countFleet(await readFleet(hub, { condition: where, ringTag }), (image) => know(image).name);
      return { json: counted, text: describeFleet(counted) };
    };
    if (watch !== true) return look();
    const { json, signal } = session;
    const note = (line: string): void => session.note(line);
    return watchTable(look, {
      everyMs: every * 1000,
      json,
      stream: process.stdout,
      clock: systemClock,
      signal,
      note,
    });
  });
}

function describeFleet({ devices, byState, byRing, byVersion, wanted }: FleetStatus): string {
  if (devices === 0) return 'No device.';
  const versions = [...new Set([...Object.keys(byVersion), ...Object.keys(wanted)])].toSorted();
  return [
    table(['all', 'devices', ...deviceStates], [['', ...countsIn(byState)]]),
    table(
      ['ring', 'devices', ...deviceStates],
      Object.entries(byRing).map(([ring, counts]) => [ring, ...countsIn(counts)]),
    ),
    table(
      ['version', 'wanted', 'devices', ...deviceStates],
      versions.map((version) => [version, wanted[version] ?? 0, ...countsIn(byVersion[version] ?? {})]),
    ),
  ].join('\n\n');
}

/** All, and how many are in each state. */
function countsIn(counts: Readonly<Record<string, number>>): number[] {
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return [all, ...deviceStates.map((state) => counts[state] ?? 0)];
}

function someFailed(failed: number, all: number): FerryError {
  return new FerryError(
    'HUB_REFUSED',
    `Cannot import ${failed} of ${all} devices: the hub refused them, as told above`,
    {
      next: 'Mend the file and give the same command again: what is done is not done twice.',
    },
  );
}
