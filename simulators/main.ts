import { Command } from 'commander';
import { runProgram, usageText } from '../shared/process-entry.ts';

await runProgram(main);

/** The program behind `ferry up`; not called by hand. */
async function main(args: readonly string[]): Promise<number> {
  const program = new Command('ferry-simulators')
    .description('What stands in for Azure on a laptop: registry, IoT Hub, storage.')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(usageText(message)) });
  program
    .command('world')
    .description('run all of it; prints one line of JSON when it is ready, and ends with its standard input')
    .requiredOption('--folder <folder>', 'where its state is kept')
    .requiredOption('--layout <folder>', 'OCI image layout that the registry serves')
    .action(async (options: { folder: string; layout: string }) => {
      const { runWorld } = await import('./world/run.ts');
      await runWorld({ folder: options.folder, layoutFolder: options.layout });
    });
  await program.parseAsync(args, { from: 'user' });
  return 0;
}
