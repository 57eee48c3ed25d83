import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AgentState } from '../../../agent/agent-state.ts';
import type { AgentStatus } from '../../../agent/status/agent-status.ts';
import { askStatus } from '../../../agent/status/ask-status.ts';
import { programCommand } from '../../../shared/programs.ts';

/** How the agent's process is started. */
export interface MeasuredAgentOptions {
  readonly stateFolder: string;
  readonly connectionString: string;
  readonly caFile: string;
}

const agentBundle = fileURLToPath(new URL('../../../dist/agent.mjs', import.meta.url));

/** The agent as it is published, with Node's flags that a system service has, in a process of its own. */
export class MeasuredAgent implements AsyncDisposable {
  readonly #options: MeasuredAgentOptions;
  readonly #child: ChildProcess;

  constructor(options: MeasuredAgentOptions) {
    this.#options = options;
    const [node = '', ...flags] = programCommand('agent').slice(0, -1);
    const { stateFolder, caFile, connectionString } = options;
    const place = ['--state', stateFolder, '--ca', caFile, '--engine', 'process', '--log-level', 'error'];
    this.#child = spawn(node, [...flags, agentBundle, 'run', ...place], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, FERRY_DEVICE_CONNECTION_STRING: connectionString },
    });
  }

  /** Resident memory as the kernel counts it, with what other programs of the same Node share, in MB. */
  get residentMb(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return (Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6;
  }

  /** Asks it how it is; fails while it is not up. */
  status(): Promise<AgentStatus> {
    const { stateFolder } = this.#options;
    return askStatus(stateFolder, new AgentState(stateFolder).statusSocket);
  }

  /** Lets it end, and its modules with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}
