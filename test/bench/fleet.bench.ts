import { runReally } from '../../simulators/fleet/real-run.ts';
import { runVirtually } from '../../simulators/fleet/virtual-run.ts';
import type { Bench, Measure } from './measure.ts';

/** Devices that connect by MQTT, that live in virtual time, and that live through a week. */
const devices = {
  real: Number(process.env['FLEET_REAL'] ?? 5_000),
  virtual: Number(process.env['FLEET_VIRTUAL'] ?? 10_000),
  week: Number(process.env['FLEET_WEEK'] ?? 100),
};
const minuteMs = 60_000;
const common = { seed: 1, deployments: 1, failingShare: 0 } as const;
const tell = (text: string): void => void process.stderr.write(`  ${text}\n`);

/** Fleets of light devices: over MQTT on this machine, and in virtual time. */
export async function openBench(): Promise<Bench> {
  const real = async (): Promise<number> => {
    const report = await runReally(
      { ...common, devices: devices.real, virtual: false, durationMs: 2 * minuteMs },
      tell,
    );
    return report.onRightVersion === devices.real ? (report.deployments[0]?.seconds?.p99 ?? Infinity) : Infinity;
  };
  let first = '';
  const runOfMany = async (): Promise<{ readonly onRightVersion: number; readonly text: string }> => {
    const options = { ...common, devices: devices.virtual, virtual: true, durationMs: 20 * minuteMs };
    const report = await runVirtually(options, () => undefined);
    return { onRightVersion: report.onRightVersion, text: JSON.stringify(report) };
  };
  const virtual = async (): Promise<number> => {
    const { onRightVersion, text } = await runOfMany();
    first = text;
    return devices.virtual - onRightVersion;
  };
  const again = async (): Promise<number> => ((await runOfMany()).text === first ? 0 : 1);
  const week = async (): Promise<number> => {
    const report = await runVirtually(
      {
        ...common,
        devices: devices.week,
        virtual: true,
        deployments: 4,
        failingShare: 0.01,
        durationMs: 7 * 24 * 60 * minuteMs,
      },
      () => undefined,
    );
    return devices.week - report.onRightVersion + report.rows.lost + devices.week - report.ledgers.equal;
  };
  const once = (figure: string, unit: string, sample: () => Promise<number>, atMost: number): Measure => ({
    figure,
    unit,
    sample,
    bar: { atMost },
    rounds: 1,
  });
  return {
    measures: [
      once(`a deployment to ${devices.real} devices over MQTT, p99`, 's', real, 20),
      once(`of ${devices.virtual} devices in virtual time, not as deployed`, 'devices', virtual, 0),
      once(`the same ${devices.virtual} devices again, of one seed`, 'reports that differ', again, 0),
      once(
        `a week of ${devices.week} devices, 1 % failing: wrong versions, lost rows, unequal ledgers`,
        'in all',
        week,
        0,
      ),
    ],
    [Symbol.asyncDispose]: async () => undefined,
  };
}
