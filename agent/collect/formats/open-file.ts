import type { CollectFormat } from '../../../shared/collect/file-settings.ts';
import type { CollectedFile, FileHead } from './collected-file.ts';
import { CsvFile } from './csv-file.ts';
import { JsonLinesFile } from './json-lines-file.ts';

/** Begins a file of collected rows in the given format. */
export async function openFile(format: CollectFormat, head: FileHead): Promise<CollectedFile> {
  if (format === 'jsonl') return new JsonLinesFile(head);
  if (format === 'csv' || format === 'csv-2018') return new CsvFile(head, format === 'csv' ? 'later' : '2018');
  // Loaded by those who write it alone.
  const { ParquetFile } = await import('./parquet-file.ts');
  return new ParquetFile(head);
}

/** MIME types of the files. */
export const contentTypes: Readonly<Record<CollectFormat, string>> = {
  csv: 'text/csv',
  'csv-2018': 'text/csv',
  jsonl: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
};
