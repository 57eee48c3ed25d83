import { closeSync, openSync } from 'node:fs';
import { copyFile, readFile, stat, truncate } from 'node:fs/promises';
import type { LogSelection } from '../engine.ts';
import { withinTimes } from './log-times.ts';

/** How large a container's output may grow before it is put aside, in bytes; with the one put aside twice that is kept. */
const logBytesMax = 10 * 1024 * 1024;

/** Opens a container's log for the container to write to. The caller closes it. */
export function openLog(path: string): number {
  // Append, so that writing goes on at the start after the file was cut, and goes on at all when this program ends.
  return openSync(path, 'a', 0o640);
}

/** Closes what {@link openLog} gave, once the container has it. */
export function closeLog(descriptor: number): void {
  closeSync(descriptor);
}

/**
 * Puts a log that is too large aside as `<path>.1`, over the one before. The container goes on writing to the same file; a line that
 * it writes between the copy and the cut is lost.
 */
export async function rotateLog(path: string, bytesMax: number = logBytesMax): Promise<void> {
  const size = await stat(path).then(
    (file) => file.size,
    () => 0,
  );
  if (size <= bytesMax) return;
  await copyFile(path, `${path}.1`);
  await truncate(path, 0);
}

/** Gives the wanted part of a log, with what was put aside before it. */
export async function readLog(path: string, selection: LogSelection = {}): Promise<string> {
  const { tail } = selection;
  const now = await readText(path);
  const isEnough = tail !== undefined && selection.untilMs === undefined && countLines(now) >= tail;
  const text = withinTimes(isEnough ? now : (await readText(`${path}.1`)) + now, selection);
  if (tail === undefined) return text;
  const lines = text.split('\n');
  const ended = lines.at(-1) === '';
  return lines.slice(Math.max(0, lines.length - tail - (ended ? 1 : 0))).join('\n');
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function countLines(text: string): number {
  return text.split('\n').length - 1;
}
