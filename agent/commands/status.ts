import { resolve } from 'node:path';
import type { Command } from 'commander';
import { addState } from './state-option.ts';

/** Adds `ferry agent status`. */
export function addStatus(program: Command): void {
  const verb = program.command('status').description('say how the agent of this device is, without asking the hub');
  addState(verb).option('--json', 'print one JSON document').action(status);
}

async function status(flags: { readonly state: string; readonly json?: boolean }): Promise<void> {
  const [{ AgentState }, { askStatus }, { statusText }] = await Promise.all([
    import('../agent-state.ts'),
    import('../status/ask-status.ts'),
    import('../status/status-text.ts'),
  ]);
  const folder = resolve(flags.state);
  const found = await askStatus(folder, new AgentState(folder).statusSocket);
  process.stdout.write(
    `${flags.json === true ? JSON.stringify(found, undefined, 2) : statusText(found, Date.now())}\n`,
  );
}
