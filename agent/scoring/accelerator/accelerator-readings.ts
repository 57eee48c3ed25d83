import type { Reading } from '../figures.ts';
import type { Scorer } from '../scorer.ts';
import { shareOf } from './accelerator-report.ts';

/** Figures of the accelerator, for metrics; of several models the worst. Empty where there is none. */
export function acceleratorReadings(scorers: readonly Scorer[]): Reading[] {
  const reports = scorers.flatMap(({ accelerator }) => accelerator ?? []);
  if (reports.length === 0) return [];
  const shares = reports.map(({ placement }) => shareOf(placement) ?? 0);
  const simulated = reports.some(({ placement }) => placement?.simulated === true);
  return [
    {
      name: 'modelferry_accelerator_ready',
      help: 'Whether the accelerator takes requests and runs as much as it has to.',
      value: Number(reports.every(({ ready }) => ready)),
    },
    {
      name: 'modelferry_accelerator_share',
      help: 'Share of the nodes of the model that run on the accelerator; 0 where it is away or does not say.',
      value: Math.min(...shares),
    },
    {
      name: 'modelferry_accelerator_simulated',
      help: 'Whether the accelerator is a simulated one.',
      value: Number(simulated),
    },
  ];
}
