import { createReadStream } from 'node:fs';
import { compose } from 'node:stream';
import { parse } from 'csv-parse';
import { FerryError, messageOf } from '../../shared/errors.ts';

/** Devices of one list; a hub has a million at most. */
const devicesMax = 1_000_000;
/** Problems that one message tells. */
const problemsToldMax = 10;
/** @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry#device-identity-properties */
const idPattern = /^[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}$/;
/** A tag's path; a query takes it without quoting. */
const tagPattern = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const idColumn = 'deviceId';

/** A device as a list names it. */
export interface ListedDevice {
  readonly deviceId: string;
  /** Tags as a twin nests them; `null` takes one away. */
  readonly tags: Readonly<Record<string, unknown>>;
}

/**
 * Reads a CSV file of devices: a column `deviceId`, and one for each tag (`site`, or `place.hall` for a nested one). An empty field
 * takes the tag away.
 * @throws {FerryError} FILE_UNREADABLE when there is no such file
 * @throws {FerryError} REQUEST_INVALID naming the lines that are wrong; then no device of it counts
 */
export async function readDeviceList(file: string): Promise<ListedDevice[]> {
  const rows = compose(createReadStream(file), parse({ bom: true, trim: true, skip_empty_lines: true, info: true }));
  const problems: string[] = [];
  const devices = new Map<string, ListedDevice>();
  let columns: readonly string[] | undefined;
  try {
    for await (const { record, info } of rows as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (columns === undefined) {
        columns = record;
        problems.push(...columnProblems(columns));
        if (problems.length > 0) break;
        continue;
      }
      const device = deviceOf(columns, record);
      const problem = deviceProblem(device, devices);
      if (problem !== undefined) problems.push(`line ${info.lines}: ${problem}`);
      else devices.set(device.deviceId, device);
      if (devices.size > devicesMax) throw tooMany(file);
    }
  } catch (cause) {
    throw unreadable(file, cause);
  }
  if (columns === undefined) problems.push(`it is empty, a first line with the column ${idColumn} was wanted`);
  if (problems.length === 0) return [...devices.values()];
  const told = problems.slice(0, problemsToldMax).join('; ');
  const more = problems.length > problemsToldMax ? ` and ${problems.length - problemsToldMax} more` : '';
  throw new FerryError('REQUEST_INVALID', `Cannot read the devices of "${file}": ${told}${more}`);
}

function columnProblems(columns: readonly string[]): string[] {
  const tags = columns.filter((name) => name !== idColumn);
  return [
    ...(columns.includes(idColumn) ? [] : [`the first line has no column ${idColumn}`]),
    ...(new Set(columns).size === columns.length ? [] : ['two columns of the first line have one name']),
    ...tags
      .filter((name) => !tagPattern.test(name))
      .map((name) => `the column "${name}" is no tag: letters, digits and "_" were wanted, parts divided by "."`),
    ...tags
      .filter((name) => tags.some((other) => other.startsWith(`${name}.`)))
      .map((name) => `the tag "${name}" is both a value and the beginning of another one`),
  ];
}

function deviceOf(columns: readonly string[], record: readonly string[]): ListedDevice {
  const tags: Record<string, unknown> = {};
  let deviceId = '';
  for (const [index, column] of columns.entries()) {
    const value = record[index] ?? '';
    if (column === idColumn) deviceId = value;
    else setAt(tags, column.split('.'), value === '' ? null : value);
  }
  return { deviceId, tags };
}

function setAt(tags: Record<string, unknown>, [name = '', ...rest]: readonly string[], value: string | null): void {
  if (rest.length === 0) {
    tags[name] = value;
    return;
  }
  const inner = (tags[name] ?? {}) as Record<string, unknown>;
  tags[name] = inner;
  setAt(inner, rest, value);
}

function deviceProblem({ deviceId }: ListedDevice, before: ReadonlyMap<string, ListedDevice>): string | undefined {
  if (!idPattern.test(deviceId))
    return `the device id is "${deviceId}", 1 to 128 letters, digits and -.+%_#*?!(),:=@$' were wanted`;
  return before.has(deviceId) ? `the device "${deviceId}" stands there twice` : undefined;
}

function unreadable(file: string, cause: unknown): FerryError {
  if (cause instanceof FerryError) return cause;
  const isCsv = cause instanceof Error && 'code' in cause && String(cause.code).startsWith('CSV_');
  if (isCsv) return new FerryError('REQUEST_INVALID', `Cannot read the devices of "${file}": ${messageOf(cause)}`);
  return new FerryError('FILE_UNREADABLE', `Cannot read "${file}": ${messageOf(cause)}, a CSV file was wanted`, {
    cause,
  });
}

function tooMany(file: string): FerryError {
  return new FerryError(
    'REQUEST_INVALID',
    `Cannot read the devices of "${file}": there are more than ${devicesMax}, the most of a hub`,
  );
}
