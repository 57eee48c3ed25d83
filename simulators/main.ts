import { Command } from 'commander';
import { z } from 'zod';
import { runProgram, usageText } from '../shared/process-entry.ts';
import { worldParts } from './world/parts.ts';

/** What `ferry up` gives on. */
const worldSchema = z.object({
  folder: z.string(),
  layout: z.string(),
  only: z.array(z.enum(worldParts)).optional(),
  engine: z.enum(['docker', 'process']).optional(),
  evaluateEvery: z.coerce.number().int().positive().optional(),
});

await runProgram(main);

/** The program behind `ferry up`; not called by hand. */
async function main(args: readonly string[]): Promise<number> {
  const program = new Command('ferry-simulators')
    .description('What stands in for Azure on a laptop: registry, IoT Hub, storage, Resource Manager.')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(usageText(message)) });
  program
    .command('world')
    .description('run all of it; prints one line of JSON when it is ready, and ends with its standard input')
    .requiredOption('--folder <folder>', 'where its state is kept')
    .requiredOption('--layout <folder>', 'OCI image layout that the registry serves')
    .option('--only <parts...>', `${worldParts.join(', ')} (default: all)`)
    .option('--evaluate-every <seconds>', 'how often the hub evaluates deployments (default: at every change)')
    .option('--engine <engine>', 'what runs containers: docker or process (default: docker where it answers)')
    .action(async (given: unknown) => {
      const { folder, layout, only, evaluateEvery, engine } = worldSchema.parse(given);
      const { runWorld } = await import('./world/run.ts');
      await runWorld({
        folder,
        layoutFolder: layout,
        only,
        engine,
        evaluateEveryMs: evaluateEvery === undefined ? undefined : evaluateEvery * 1000,
      });
    });
  await program.parseAsync(args, { from: 'user' });
  return 0;
}
