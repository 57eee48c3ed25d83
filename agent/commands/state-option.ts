import type { Command } from 'commander';

/** Adds the option of the agent's folder, the same for every verb, with the place where a system service has its own. */
export function addState(verb: Command): Command {
  return verb.option('--state <folder>', 'folder of the agent', '/var/lib/modelferry');
}
