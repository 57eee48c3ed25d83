import { readFile, readdir } from 'node:fs/promises';

/** Tells one process from every other that ever had or will have its id on this machine. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks after the machine did. */
  readonly startTicks: number;
  /** Which start of the machine that was. */
  readonly bootId: string;
}

/** Gives the identity of a process, or nothing when there is none of that id or it has ended and only waits to be collected. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const [stat, bootId] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
  ]);
  // proc(5): field 2 is the name in parentheses and may hold anything, so fields are counted from the last ")".
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTicks] = [fields[0], Number(fields[19])];
  if (stat === '' || state === 'Z' || state === 'X') return undefined;
  return { pid, startTicks, bootId: bootId.trim() };
}

/** Says whether that very process still runs. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identityOf(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** Gives the ids of all processes that carry the variable with that value in their environment, as far as this user may look. */
export async function processesWith(variable: string, value: string): Promise<number[]> {
  return (await markedProcesses(variable)).filter((marked) => marked.value === value).map(({ pid }) => pid);
}

/** Gives all processes that carry the variable in their environment, with its value, as far as this user may look. */
export async function markedProcesses(variable: string): Promise<{ readonly pid: number; readonly value: string }[]> {
  const start = `${variable}=`;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: { readonly pid: number; readonly value: string }[] = [];
  for (const pid of pids) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const mark = environment.split('\0').find((entry) => entry.startsWith(start));
    if (mark !== undefined) found.push({ pid: Number(pid), value: mark.slice(start.length) });
  }
  return found;
}
