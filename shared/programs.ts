import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The programs that the project consists of; they meet on the wire and never import each other. */
export type ProgramName = 'ferry' | 'agent' | 'light' | 'quickstart' | 'scoring' | 'service-host' | 'simulators';

/**
 * Node's flags for a program that runs for months on a device with little memory and mostly waits: the optimizing compilers alone are 10 MB of
 * it once they have been used.
 */
const sparing = [
  '--optimize-for-size',
  '--max-semi-space-size=1',
  '--no-opt',
  '--no-maglev',
  '--v8-pool-size=1',
  // The device SDK calls `url.parse`, of which Node is silent only where a package stands in a folder of its own.
  '--disable-warning=DEP0169',
];

/** Where a program is, and how it is run. */
interface Place {
  readonly source: string;
  readonly bundle: string;
  readonly nodeFlags?: readonly string[];
}

/** Where each program is: its source in a checkout, its bundle (beside this one) in the published package. */
const places: Record<ProgramName, Place> = {
  ferry: { source: '../cloud/main.ts', bundle: './ferry.mjs' },
  agent: { source: '../agent/main.ts', bundle: './agent.mjs', nodeFlags: sparing },
  light: { source: '../agent/light/main.ts', bundle: './light.mjs' },
  quickstart: { source: '../simulators/quickstart/main.ts', bundle: './quickstart.mjs' },
  'service-host': { source: '../cloud/deploy/local/host/main.ts', bundle: './service-host.mjs' },
  simulators: { source: '../simulators/main.ts', bundle: './simulators.mjs' },
  scoring: { source: '../agent/scoring/main.ts', bundle: './scoring.mjs' },
};

/** Where a program's main module is. */
export interface Program {
  /** Absolute path of the module to give to Node. */
  readonly path: string;
  /** Whether it is the published bundle; else it is the TypeScript source of a checkout. */
  readonly bundled: boolean;
}

/** Finds a program of the project by its name. */
export function findProgram(name: ProgramName): Program {
  const bundle = fileURLToPath(new URL(places[name].bundle, import.meta.url));
  if (existsSync(bundle)) return { path: bundle, bundled: true };
  return { path: fileURLToPath(new URL(places[name].source, import.meta.url)), bundled: false };
}

/** The command that runs a program: Node, its flags, and the program's main module, all as absolute paths. */
export function programCommand(name: ProgramName): readonly string[] {
  return [process.execPath, ...(places[name].nodeFlags ?? []), findProgram(name).path];
}

/** Ends this program and goes on as another one, in the same process (`execve`): same id, terminal, and signals. */
export function becomeProgram(name: ProgramName, args: readonly string[]): never {
  const [node = '', ...rest] = programCommand(name);
  if (process.execve === undefined) throw new Error('This platform has no execve');
  process.execve(node, [node, ...process.execArgv, ...rest, ...args], process.env);
  throw new Error('execve came back');
}
