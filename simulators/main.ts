import { Command } from 'commander';
import { z } from 'zod';
import { runProgram, usageText } from '../shared/process-entry.ts';
import { worldParts } from './world/parts.ts';

/** What `ferry simulate accelerator` gives on. */
const acceleratorSchema = z.object({
  model: z.string(),
  name: z.string().optional(),
  modelVersion: z.string().optional(),
  host: z.string().optional(),
  port: z.coerce.number().int().min(0).max(65_535),
  latency: z.coerce.number().min(0).max(600_000).optional(),
  queue: z.coerce.number().int().min(1).max(100_000).optional(),
  unsupported: z.array(z.string()).optional(),
});

/** What `ferry up` gives on. */
const worldSchema = z.object({
  folder: z.string(),
  layout: z.string(),
  only: z.array(z.enum(worldParts)).optional(),
  engine: z.enum(['docker', 'process']).optional(),
  evaluateEvery: z.coerce.number().int().positive().optional(),
});

/** What `ferry simulate fleet` gives on. */
const fleetSchema = z.object({
  devices: z.coerce.number().int().positive(),
  seed: z.coerce.number().int().nonnegative(),
  real: z.coerce.number().int().nonnegative().default(0),
  virtual: z.boolean().default(false),
  slowLinks: z.boolean().default(false),
  minutes: z.coerce.number().positive(),
  deployments: z.coerce.number().int().positive(),
  failing: z.coerce.number().min(0).max(100),
  outage: z.coerce.number().positive().optional(),
  s1Units: z.coerce.number().int().positive().optional(),
});

await runProgram(main);

/** The program behind `ferry up` and `ferry simulate fleet`; not called by hand. */
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
  program
    .command('fleet')
    .description('live through some time of a fleet; prints its report as one line of JSON')
    .requiredOption('--devices <count>', 'how many')
    .requiredOption('--seed <seed>', 'of all that is left to chance')
    .requiredOption('--minutes <minutes>', 'how long it takes by the clock of the fleet')
    .requiredOption('--deployments <count>', 'how many')
    .requiredOption('--failing <percent>', 'devices with which something is wrong at any time')
    .option('--real <count>', 'real agents beside them (default: none)')
    .option('--virtual', 'time is only counted')
    .option('--slow-links', 'where time is real, links are slow and come and go')
    .option('--outage <minutes>', 'the hub is out in the middle, for so long')
    .option('--s1-units <units>', 'throttles as of so many units of tier S1 (default: none)')
    .action(async (given: unknown) => {
      const { real, minutes, failing, outage, ...asked } = fleetSchema.parse(given);
      const { runFleet } = await import('./fleet/run.ts');
      const durationMs = Math.round(minutes * 60_000);
      await runFleet({
        ...asked,
        realAgents: real,
        durationMs,
        failingShare: failing / 100,
        outage:
          outage === undefined ? undefined : { atMs: Math.floor(durationMs / 2), forMs: Math.round(outage * 60_000) },
      });
    });
  program
    .command('accelerator')
    .description('run a simulated accelerator with one model; prints one line of JSON when it is ready')
    .requiredOption('--model <file>', 'the ONNX file')
    .option('--name <name>', 'what it is called there (default: as the file)')
    .option('--model-version <version>', 'its version there (default: 1)')
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <port>', 'port of the Open Inference Protocol; 0 takes any free one', '8500')
    .option('--latency <ms>', 'what one run takes at least (default: 1)')
    .option('--queue <count>', 'requests that may wait (default: 64)')
    .option('--unsupported <operators...>', 'operators that the card has not (default: it has all)')
    .action(async (given: unknown) => {
      const { model, modelVersion, latency, queue, ...options } = acceleratorSchema.parse(given);
      const { runAccelerator } = await import('./accelerator/run.ts');
      await runAccelerator({
        ...options,
        modelFile: model,
        version: modelVersion,
        latencyMs: latency,
        queueMax: queue,
      });
    });
  await program.parseAsync(args, { from: 'user' });
  return 0;
}
