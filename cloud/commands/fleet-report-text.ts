import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';

const count = z.number();

/** What a simulated fleet came to, as the simulators print it. */
export const fleetReportSchema = z.object({
  mode: z.enum(['real', 'virtual']),
  devices: count,
  seed: count,
  seconds: count,
  deployments: z.array(
    z.object({
      id: z.string(),
      atSeconds: count,
      /** Devices that became as it says before the next one came. */
      converged: count,
      /** From the deployment until devices were seen to be as it says. */
      seconds: z.object({ p50: count, p90: count, p99: count, max: count }).optional(),
    }),
  ),
  /** Of the devices, those that are real agents, and how they did with the last deployment. */
  realAgents: z
    .object({
      devices: count,
      onRightVersion: count,
      seconds: z.object({ p50: count, p90: count, p99: count, max: count }).optional(),
      /** Rows that their modules have answered, and collected. */
      answered: count,
      collected: count,
    })
    .optional(),
  /** Devices that had taken the last deployment back, and got it once more. */
  deployedAgain: count,
  /** Devices that are as the last deployment says at the end; others are named. */
  onRightVersion: count,
  wrongVersion: z.array(z.string()),
  troubles: z.object({ crashes: count, powerCuts: count }),
  retries: z.object({ connections: count, pulls: count, uploads: count, messages: count, throttled: count }),
  bytes: z.object({ sent: count, received: count, pulled: count, uploaded: count }),
  rows: z.object({
    collected: count,
    uploaded: count,
    buffered: count,
    dropped: count,
    stored: count,
    /** Rows that nobody can say the whereabouts of. */
    lost: count,
  }),
  ledgers: z.object({ equal: count, unequal: z.array(z.string()) }),
  hub: z.object({
    connections: count,
    connectionsPerSecondMax: count,
    patches: count,
    patchesPerSecondMax: count,
    throttled: z.record(z.string(), count),
  }),
});

/** What a simulated fleet came to. */
export type FleetReport = z.infer<typeof fleetReportSchema>;

/** Lays out a report for people. */
export function fleetText(report: FleetReport): string {
  const { rows, bytes, retries, hub, troubles, realAgents } = report;
  const deployments = report.deployments.map(({ id, atSeconds, converged, seconds }) => [
    id,
    secondsText(atSeconds),
    `${converged} of ${report.devices}`,
    ...[seconds?.p50, seconds?.p90, seconds?.p99, seconds?.max].map((value) =>
      value === undefined ? '-' : secondsText(value),
    ),
  ]);
  const throttled = Object.entries(hub.throttled).map(([kind, times]) => `${times} ${kind}`);
  const summary = fields({
    fleet: `${report.devices} devices, seed ${report.seed}, ${secondsText(report.seconds)} of ${report.mode} time`,
    'right version': `${report.onRightVersion} of ${report.devices}${named(report.wrongVersion)}`,
    'real agents':
      realAgents &&
      `${realAgents.onRightVersion} of ${realAgents.devices} on the right version, the last after ${secondsText(realAgents.seconds?.max ?? 0)}; ${realAgents.answered} rows answered, ${realAgents.collected} collected`,
    'deployed again':
      report.deployedAgain === 0 ? undefined : `${report.deployedAgain}, which had taken the last deployment back`,
    rows: `${rows.collected} collected = ${rows.uploaded} uploaded + ${rows.buffered} buffered + ${rows.dropped} dropped; ${rows.lost} lost`,
    ledgers: `${report.ledgers.equal} of ${report.devices} equal${named(report.ledgers.unequal)}`,
    troubles: `${troubles.crashes} crashes, ${troubles.powerCuts} power cuts`,
    retries: `${retries.connections} connections, ${retries.pulls} pulls, ${retries.uploads} uploads, ${retries.messages} messages, ${retries.throttled} throttled`,
    bytes: `${bytesText(bytes.pulled)} pulled, ${bytesText(bytes.uploaded)} uploaded, ${bytesText(bytes.received)} from and ${bytesText(bytes.sent)} to the hub`,
    hub: `${hub.connections} connections (${hub.connectionsPerSecondMax}/s at most), ${hub.patches} patches (${hub.patchesPerSecondMax}/s at most)`,
    throttled: throttled.length === 0 ? undefined : throttled.join(', '),
  });
  return `${table(['deployment', 'at', 'converged', 'p50', 'p90', 'p99', 'max'], deployments)}\n\n${summary}`;
}

/** Says what is wrong with how a fleet ended; nothing when nothing is. */
export function failureOf(report: FleetReport): FerryError | undefined {
  const { devices, onRightVersion, rows, ledgers } = report;
  const wrong = [
    ...(onRightVersion === devices ? [] : [`${devices - onRightVersion} devices are not as deployed`]),
    ...(rows.lost === 0 ? [] : [`${rows.lost} rows are lost`]),
    ...(ledgers.unequal.length === 0 ? [] : [`ledgers of ${devices - ledgers.equal} devices are not equal`]),
  ];
  if (wrong.length === 0) return undefined;
  return new FerryError('CHECK_FAILED', `Cannot call the fleet well: ${wrong.join(', ')}; none was wanted`);
}

function named(ids: readonly string[]): string {
  return ids.length === 0 ? '' : ` (not ${ids.join(', ')})`;
}

/** Writes a time for people: `7.2 s`, `12 min`, `3.5 h`, `2.1 d`. */
function secondsText(seconds: number): string {
  const steps = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
  ] as const;
  const [size, unit] = steps.find(([size]) => seconds >= 2 * size) ?? [1, 's'];
  return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}
