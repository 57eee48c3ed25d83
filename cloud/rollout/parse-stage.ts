import { FerryError } from '../../shared/errors.ts';
import type { RolloutInput } from './rollout-request.ts';

const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a stage as it is written on a command line: who is in it, then how it is done, by spaces. Who: `ring=canary` (tags; several
 * by spaces), `10%`, or `devices=gw-1,gw-2`. How: `bake=30m`, `timeout=2h`, `name=first`, `manual`.
 * @throws {FerryError} USAGE when it cannot be read
 */
export function parseStage(text: string): RolloutInput['stages'][number] {
  const tags: Record<string, string> = {};
  let percent: number | undefined;
  let devices: string[] | undefined;
  const settings: Omit<RolloutInput['stages'][number], 'select'> = {};
  for (const word of text.split(/\s+/).filter((word) => word !== '')) {
    const [key, value] = splitAt(word, '=');
    if (/^\d+(\.\d+)?%$/.test(word)) percent = Number(word.slice(0, -1));
    else if (word === 'manual') settings.approval = 'manual';
    else if (value === undefined || value === '') throw notAStage(text, `"${word}" is not known`);
    else if (key === 'devices') devices = value.split(',').filter((id) => id !== '');
    else if (key === 'bake') settings.bakeMs = parseDuration(value);
    else if (key === 'timeout') settings.timeoutMs = parseDuration(value);
    else if (key === 'name') settings.name = value;
    else tags[key] = value;
  }
  const selections = [
    ...(percent === undefined ? [] : [{ percent }]),
    ...(devices === undefined ? [] : [{ devices }]),
    ...(Object.keys(tags).length === 0 ? [] : [{ tags }]),
  ];
  const [select, ...others] = selections;
  if (select === undefined || others.length > 0)
    throw notAStage(text, select === undefined ? 'it says no devices' : 'it says devices in more than one way');
  return { ...settings, select };
}

/**
 * Reads a duration: a number and `s`, `m`, `h` or `d`.
 * @returns milliseconds
 * @throws {FerryError} USAGE
 */
export function parseDuration(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(s|m|h|d)$/.exec(text) ?? [];
  const unitMs = unitsMs[unit ?? ''];
  if (amount === undefined || unitMs === undefined)
    throw new FerryError('USAGE', `Cannot read the duration "${text}": one like 90s, 30m, 2h or 1d was wanted`);
  return Math.round(Number(amount) * unitMs);
}

function splitAt(word: string, separator: string): [string, string | undefined] {
  const at = word.indexOf(separator);
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + separator.length)];
}

function notAStage(text: string, why: string): FerryError {
  return new FerryError(
    'USAGE',
    `Cannot read the stage "${text}": ${why}; one of TAG=VALUE, N% or devices=A,B was wanted, then bake=30m, timeout=2h, name=NAME or manual`,
  );
}
