import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { findProgram } from '../shared/programs.ts';

/** What `ferry up --json` prints. */
export interface UpDocument {
  readonly workspace: string;
  readonly registry: string;
  readonly hub: {
    readonly hostName: string;
    readonly connectionString: string;
    readonly eventHubConnectionString: string;
  };
  readonly arm: {
    readonly endpoint: string;
    readonly tenantId: string;
    readonly subscriptionId: string;
    readonly clientId: string;
    readonly clientSecret: string;
  };
  readonly storage: { readonly blobEndpoint: string; readonly connectionString: string };
  readonly caFile: string;
}

/** A running `ferry up`. */
export interface LocalWorld extends AsyncDisposable {
  readonly document: UpDocument;
  readonly process: ChildProcess;
  /** Asks it to end by a signal and gives its exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Runs `ferry up --json` in a folder and waits until it has said where everything is; with more flags where they are given. */
export async function startLocalWorld(folder: string, flags: readonly string[] = []): Promise<LocalWorld> {
  const child = spawn(process.execPath, [findProgram('ferry').path, 'up', '--json', ...flags], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  let text = '';
  for await (const line of createInterface({ input: child.stdout })) {
    text += line;
    if (line === '}') break;
  }
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    return (await exited)[0];
  };
  return {
    document: JSON.parse(text) as UpDocument,
    process: child,
    end,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGTERM');
    },
  };
}
