/** What rows are, by Azure ML's words for it. */
export const designations = ['inputs', 'predictions', 'labels', 'signals'] as const;

/** What rows are, by Azure ML's words for it. */
export type Designation = (typeof designations)[number];

/** What a file of collected rows may be, by the end of its name. */
export type FileKind = 'csv' | 'jsonl' | 'parquet';

/** What a blob's path says of the rows in it. */
export interface BlobPath {
  /** The device that an IoT Hub took the blob from; undefined where it came from the cloud. */
  readonly device: string | undefined;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  /** Folder of the rows' time in UTC, a day or an hour: `2026-11-22`, `2026-11-22 09h`. */
  readonly folder: string;
  /** What the folder covers, in milliseconds since 1970; the end is not in it. */
  readonly fromMs: number;
  readonly beforeMs: number;
  readonly kind: FileKind;
}

const hourMs = 3_600_000;

/**
 * Reads the path of collected rows in Azure ML's layout,
 * `[<device>/]<subscription>/<resource group>/<workspace>/<service>/<model>/<version>/<designation>/<yyyy>/<mm>/<dd>/[<hh>/]<file>`.
 * @param scope `<subscription>/<resource group>/<workspace>`
 * @returns undefined when it is no such path
 */
export function parseBlobPath(path: string, scope: string): BlobPath | undefined {
  const at = path.startsWith(`${scope}/`) ? 0 : path.indexOf(`/${scope}/`) + 1;
  const device = at === 0 ? undefined : path.slice(0, at - 1);
  if ((at === 0 && !path.startsWith(`${scope}/`)) || device?.includes('/')) return undefined;
  const [service, model, version = '', designation, ...rest] = path.slice(at + scope.length + 1).split('/');
  const time = folderTime(rest.slice(0, -1));
  const kind = /.\.(csv|jsonl|parquet)$/.exec(rest.at(-1) ?? '')?.[1] as FileKind | undefined;
  const known = designations.find((name) => name === designation);
  if (!service || !model || known === undefined || time === undefined || kind === undefined) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(version)) return undefined;
  return { device, service, model, version: Number(version), designation: known, kind, ...time };
}

/** Reads `<yyyy>/<mm>/<dd>[/<hh>]`; a day or an hour that does not exist is none. */
function folderTime(parts: readonly string[]): Pick<BlobPath, 'folder' | 'fromMs' | 'beforeMs'> | undefined {
  const [year, month, day, hour, ...more] = parts;
  if (more.length > 0) return undefined;
  const date = `${year}-${month}-${day}`;
  const start = `${date}T${hour ?? '00'}:00:00.000Z`;
  const fromMs = Date.parse(start);
  if (Number.isNaN(fromMs) || new Date(fromMs).toISOString() !== start) return undefined;
  return {
    folder: hour === undefined ? date : `${date} ${hour}h`,
    fromMs,
    beforeMs: fromMs + (hour === undefined ? 24 : 1) * hourMs,
  };
}

/** Which collected rows are meant; what is not given is not looked at. */
export interface DataFilter {
  readonly service?: string;
  readonly model?: string;
  readonly version?: number;
  readonly designation?: Designation;
  /** Id of the device that the rows come from. */
  readonly device?: string;
  /** First moment, in milliseconds since 1970. */
  readonly fromMs?: number;
  /** The moment after the last one. */
  readonly beforeMs?: number;
}

/** Says whether the rows are of the device, service, model, version and designation that are meant, of whatever time. */
export function isOfStream(
  path: Pick<BlobPath, 'device' | 'service' | 'model' | 'version' | 'designation'>,
  filter: DataFilter,
): boolean {
  const { service, model, version, designation, device } = filter;
  return (
    (device === undefined || path.device === device) &&
    (service === undefined || path.service === service) &&
    (model === undefined || path.model === model) &&
    (version === undefined || path.version === version) &&
    (designation === undefined || path.designation === designation)
  );
}

/** Says whether rows of a time that is meant may be in the folder. */
export function isInTime(path: Pick<BlobPath, 'fromMs' | 'beforeMs'>, { fromMs, beforeMs }: DataFilter): boolean {
  return (fromMs === undefined || path.beforeMs > fromMs) && (beforeMs === undefined || path.fromMs < beforeMs);
}

/** Says whether all rows of the folder are of a time that is meant, so that none has to be looked at. */
export function isWhollyInTime(path: BlobPath, { fromMs, beforeMs }: DataFilter): boolean {
  return (fromMs === undefined || path.fromMs >= fromMs) && (beforeMs === undefined || path.beforeMs <= beforeMs);
}

/** Gives the longest beginning that all paths of a filter share after the scope; ends in a slash. */
export function pathPrefix(scope: string, filter: DataFilter): string {
  const parts = [filter.service, filter.model, filter.version, filter.designation];
  const end = parts.indexOf(undefined);
  return [scope, ...(end < 0 ? parts : parts.slice(0, end)), ''].join('/');
}
