import type { Command } from 'commander';
import { addWork } from '../cli/session.ts';
import { planService } from '../deploy/services.ts';
import { placesText } from './plan-text.ts';
import { deployOptions } from './service-change.ts';
import { addSettingFlags, givenSettings } from './service-flags.ts';

interface PlanFlags extends Readonly<Record<string, unknown>> {
  readonly image: string;
  readonly replace?: boolean;
}

/** Adds `ferry edge plan`. */
export function addPlan(noun: Command): void {
  const plan = noun
    .command('plan')
    .description('print what each device that is meant will run, before anything is sent')
    .argument('<name>', 'name of the service, new or there already')
    .requiredOption('--image <image>', 'NAME or NAME:VERSION; without a version the latest one')
    .option('--replace', 'as with ferry service create: modules of another deployment may go');
  addWork<PlanFlags>(addSettingFlags(plan, 'iotedge'), async (session, flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const request = { name, target: { kind: 'iotedge' as const }, image: flags.image, settings: givenSettings(flags) };
    return placesText(await planService(workspace, request, deployOptions(session, flags)));
  });
}
