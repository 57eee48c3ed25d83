/** What rows are, by Azure ML's words for it. */
export const designations = ['inputs', 'predictions', 'labels', 'signals'] as const;

/** What rows are, by Azure ML's words for it. */
export type Designation = (typeof designations)[number];

/** What a blob's path says of the rows in it. */
export interface BlobPath {
  /** The device that an IoT Hub took the blob from; undefined where it came from the cloud. */
  readonly device: string | undefined;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  /** Day of the rows in UTC: `2026-11-22`. */
  readonly date: string;
}

/**
 * Reads the path of collected rows in Azure ML's layout,
 * `[<device>/]<subscription>/<resource group>/<workspace>/<service>/<model>/<version>/<designation>/<yyyy>/<mm>/<dd>/<file>`.
 * @param scope `<subscription>/<resource group>/<workspace>`
 * @returns undefined when it is no such path
 */
export function parseBlobPath(path: string, scope: string): BlobPath | undefined {
  const at = path.startsWith(`${scope}/`) ? 0 : path.indexOf(`/${scope}/`) + 1;
  const device = at === 0 ? undefined : path.slice(0, at - 1);
  if ((at === 0 && !path.startsWith(`${scope}/`)) || device?.includes('/')) return undefined;
  const [service, model, version, designation, year, month, day, file, ...more] = path
    .slice(at + scope.length + 1)
    .split('/');
  const date = `${year}-${month}-${day}`;
  if (!service || !model || !file?.endsWith('.csv') || more.length > 0) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(version ?? '') || !/^\d{4}-\d{2}-\d{2}$/.test(date)) return undefined;
  const known = designations.find((name) => name === designation);
  return known === undefined
    ? undefined
    : { device, service, model, version: Number(version), designation: known, date };
}

/** Which collected rows are meant; what is not given is not looked at. */
export interface DataFilter {
  readonly service?: string;
  readonly model?: string;
  readonly version?: number;
  readonly designation?: Designation;
  /** First day, in UTC: `2026-11-01`. */
  readonly from?: string;
  /** Last day, included. */
  readonly to?: string;
}

/** Says whether the rows are of the service, model, version and designation that are meant, of whatever day. */
export function isOfStream(path: BlobPath, filter: DataFilter): boolean {
  const { service, model, version, designation } = filter;
  return (
    (service === undefined || path.service === service) &&
    (model === undefined || path.model === model) &&
    (version === undefined || path.version === version) &&
    (designation === undefined || path.designation === designation)
  );
}

/** Says whether the rows are of a day that is meant. */
export function isInTime(path: BlobPath, { from, to }: DataFilter): boolean {
  return (from === undefined || path.date >= from) && (to === undefined || path.date <= to);
}

/** Gives the longest beginning that all paths of a filter share after the scope; ends in a slash. */
export function pathPrefix(scope: string, filter: DataFilter): string {
  const parts = [filter.service, filter.model, filter.version, filter.designation];
  const end = parts.indexOf(undefined);
  return [scope, ...(end < 0 ? parts : parts.slice(0, end)), ''].join('/');
}
