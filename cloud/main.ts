#!/usr/bin/env node
import type { Command } from 'commander';
import { enableCompileCache } from 'node:module';

// Halves the start of a command from the second time on, for what is loaded after it: so all else is.
enableCompileCache();
const { becomeProgram } = await import('../shared/programs.ts');
const { runProgram, usageText } = await import('../shared/process-entry.ts');

/** A noun of the command line; its verbs are loaded only when it is the one called for. */
interface Noun {
  readonly summary: string;
  readonly load: () => Promise<(noun: Command) => void>;
}

const nouns: Readonly<Record<string, Noun>> = {
  workspace: {
    summary: 'where models, images and services are kept',
    load: async () => (await import('./commands/workspace.ts')).addWorkspaceVerbs,
  },
  up: {
    summary: 'run the local world, or a part: registry, IoT Hub simulator, storage',
    load: async () => (await import('./commands/up.ts')).addUp,
  },
  model: {
    summary: 'register, find, change and fetch models',
    load: async () => (await import('./commands/model.ts')).addModelVerbs,
  },
  image: {
    summary: 'build, find, change and export images',
    load: async () => (await import('./commands/image.ts')).addImageVerbs,
  },
  service: {
    summary: 'images that run, on whatever target',
    load: async () => (await import('./commands/service.ts')).addServiceVerbs,
  },
  push: {
    summary: 'a model file to a running service, in one command',
    load: async () => (await import('./commands/push.ts')).addPush,
  },
  apply: {
    summary: 'what a file says of a service',
    load: async () => (await import('./commands/apply.ts')).addApply,
  },
  compute: {
    summary: 'clusters and the like that services run on, by name',
    load: async () => (await import('./commands/compute.ts')).addComputeVerbs,
  },
  edge: {
    summary: 'devices and deployments of the IoT Hub',
    load: async () => (await import('./commands/edge.ts')).addEdgeVerbs,
  },
  data: {
    summary: 'what services have collected',
    load: async () => (await import('./commands/data.ts')).addDataVerbs,
  },
  simulate: {
    summary: 'make things go wrong in the local world; live through weeks of a fleet',
    load: async () => (await import('./commands/simulate.ts')).addSimulateVerbs,
  },
};

/** Nouns that other programs of the project answer for. */
const elsewhere = {
  agent: { summary: 'the program on an edge device', program: 'agent' },
  quickstart: { summary: 'the main job end to end, on this machine', program: 'quickstart' },
} as const;

await runProgram(main);

async function main(args: readonly string[]): Promise<number> {
  const called = args[0] ?? '';
  if (Object.hasOwn(elsewhere, called)) {
    becomeProgram(elsewhere[called as keyof typeof elsewhere].program, args.slice(1));
  }
  const [{ Command }] = await Promise.all([import('commander'), import('./cli/interpreted-schemas.ts')]);
  const { productVersion } = await import('../shared/version.ts');
  const ferry = describe(new Command('ferry')).version(productVersion, '--version', 'print the version');
  for (const [name, { summary, load }] of Object.entries(nouns)) {
    const noun = ferry.command(name).description(summary);
    if (name === called) (await load())(noun);
  }
  for (const [name, { summary }] of Object.entries(elsewhere)) ferry.command(name).description(summary);
  await ferry.parseAsync(args, { from: 'user' });
  return 0;
}

function describe(program: Command): Command {
  return (
    program
      .description(
        'Register models, build their images without a Docker daemon, deploy them, and collect what they see.',
      )
      // An option before the noun is this program's, one behind it the verb's: `data list --version 2` asks for a model's.
      .enablePositionalOptions()
      .exitOverride()
      .configureOutput({ outputError: (message, write) => write(usageText(message)) })
      .configureHelp({ sortSubcommands: false })
  );
}
