import { readFileSync } from 'node:fs';
import { systemCodeOf } from '../errors.ts';

/**
 * Gives a text that tells this process from every other one of this machine, past ones too: a process id alone comes back.
 * What carries it belongs to this process while it lives, and to nobody afterwards.
 */
export function processMark(): string {
  return `${process.pid}-${startTimeOf(process.pid) ?? '0'}`;
}

/** Says whether the process that a mark was made by is still there. A text that is no mark belongs to nobody. */
export function isProcessAlive(mark: string): boolean {
  const [, pid, startTime] = /^(\d+)-(\d+)$/.exec(mark) ?? [];
  if (pid === undefined) return false;
  if (startTime !== '0') return startTimeOf(Number(pid)) === startTime;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

/** When a process started, in ticks since boot; absent where there is no such process, or no /proc. */
function startTimeOf(pid: number): string | undefined {
  try {
    // proc(5), /proc/pid/stat: field 22, counted from behind the name in parentheses, which may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
