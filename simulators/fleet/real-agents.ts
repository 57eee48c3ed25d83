import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { programCommand } from '../../shared/programs.ts';

/** How long agents may take to end, in milliseconds; they have ten seconds to end their modules. */
const endTimeoutMs = 15_000;

/** The agent's own program, as many times as there are to be real devices among the light ones: each with a state and modules of its own. */
export class RealAgents implements AsyncDisposable {
  readonly #children = new Map<string, ChildProcess>();
  readonly #onExit = (): void => this.#tell('SIGTERM');

  /** Starts them. @param of.folder where their states are kept */
  constructor(
    devices: readonly { readonly deviceId: string; readonly connectionString: string }[],
    of: { readonly folder: string; readonly caFile: string; readonly uploadEveryMs: number },
  ) {
    // Also where this program ends at once: they do not end with it.
    process.on('exit', this.#onExit);
    const [node = '', ...args] = programCommand('agent');
    const uploadEvery = String(Math.ceil(of.uploadEveryMs / 1000));
    for (const { deviceId, connectionString } of devices) {
      const flags = ['--state', join(of.folder, deviceId), '--ca', of.caFile, '--engine', 'process'];
      const child = spawn(
        node,
        [...args, 'run', ...flags, '--upload-every', uploadEvery, '--log-level', 'fatal', '--log-format', 'text'],
        // The connection string is a secret: what stands in the arguments, everybody can read.
        {
          stdio: ['ignore', 'ignore', 'inherit'],
          env: { ...process.env, FERRY_DEVICE_CONNECTION_STRING: connectionString },
        },
      );
      this.#children.set(deviceId, child);
      child.on('error', (error) => process.stderr.write(`simulate: ${deviceId}: ${error.message}\n`));
      child.once('close', () => this.#children.delete(deviceId));
    }
  }

  /** Ends them: they end their modules, send what those have collected, and tell the hub what became of it. */
  async end(): Promise<void> {
    const ending = [...this.#children.values()].map((child) => once(child, 'close'));
    this.#tell('SIGTERM');
    const late = setTimeout(() => this.#tell('SIGKILL'), endTimeoutMs);
    await Promise.all(ending);
    clearTimeout(late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    process.off('exit', this.#onExit);
  }

  #tell(signal: 'SIGTERM' | 'SIGKILL'): void {
    for (const child of this.#children.values()) child.kill(signal);
  }
}
