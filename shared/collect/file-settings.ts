/**
 * What collected rows are written as: `csv` with Azure ML's columns of 2019 and later, `csv-2018` with those before, `jsonl`
 * as Azure ML v2 writes it (CloudEvents, one a line), `parquet`.
 */
export const collectFormats = ['csv', 'csv-2018', 'jsonl', 'parquet'] as const;

/** One of the formats that collected rows are written in. */
export type CollectFormat = (typeof collectFormats)[number];

/** How much time one folder of collected rows covers. */
export const collectFolders = ['day', 'hour'] as const;

/** How much time one folder of collected rows covers. */
export type CollectFolder = (typeof collectFolders)[number];

/** How the rows of a service become files. */
export interface FileSettings {
  readonly format: CollectFormat;
  readonly folder: CollectFolder;
}

/** How rows become files where nobody says it. */
export const defaultFiles: FileSettings = { format: 'csv', folder: 'day' };
