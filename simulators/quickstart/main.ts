import { Command, Option } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { exitCodes, runProgram, usageText } from '../../shared/process-entry.ts';
import { runJourney } from './journey.ts';
import { openStage } from './stage.ts';
import { summaryText } from './summary.ts';

await runProgram(main);

/** `ferry quickstart`: the main job, end to end, on this machine, through the public command line alone. */
async function main(args: readonly string[]): Promise<number> {
  const program = new Command('ferry quickstart')
    .description('The main job end to end on this machine: register, build, deploy to an edge device, score, collect.')
    .addOption(
      new Option('--engine <engine>', 'what runs the module').choices(['auto', 'docker', 'process']).default('auto'),
    )
    .option('--keep', 'leave everything up at the end, and say how to talk to it')
    .option('--json', 'print the summary as one JSON document on standard output')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(usageText(message)) });
  program.parse(args, { from: 'user' });
  const options = program.opts<{ engine: 'auto' | 'docker' | 'process'; keep?: boolean; json?: boolean }>();

  const interruption = new AbortController();
  const interrupt = (name: NodeJS.Signals): void =>
    interruption.abort(new FerryError('INTERRUPTED', `Cannot finish: it was interrupted by ${name}`));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);

  await using stage = await openStage({
    signal: interruption.signal,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  const summary = await runJourney(stage, { engine: options.engine });
  process.stdout.write(
    options.json === true ? `${JSON.stringify(summary, undefined, 2)}\n` : `${summaryText(summary)}\n`,
  );
  if (options.keep === true) process.stdout.write(`\n${stage.keep(summary.address)}\n`);
  return exitCodes.done;
}
