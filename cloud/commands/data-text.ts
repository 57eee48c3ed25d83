import { FerryError } from '../../shared/errors.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';
import type { CommandResult } from '../cli/result.ts';
import type { DataBlob } from '../data/find-blobs.ts';
import type { LabelReport } from '../data/label.ts';
import type { PullReport } from '../data/pull.ts';
import type { StreamStatus } from '../data/status.ts';
import type { VerifyReport } from '../data/verify.ts';

/** What `ferry data list` prints. */
export function describeBlobs(blobs: readonly DataBlob[], address: string): CommandResult {
  const rows = blobs.map(({ device, service, model, version, designation, folder, kind, range, bytes }) =>
    [device ?? '', service, `${model}:${version}`, designation, folder, kind, range?.rows ?? '?', bytesText(bytes)].map(
      String,
    ),
  );
  const documents = blobs.map(({ range, fromMs: _from, beforeMs: _before, types: _types, ...blob }) => ({
    ...blob,
    url: `${address}/${blob.name}`,
    rows: null,
    ...range,
  }));
  const json = { blobs: documents };
  if (blobs.length === 0) return { json, text: `No rows were collected yet in ${address}.` };
  return { json, text: table(['device', 'service', 'model', 'designation', 'folder', 'file', 'rows', 'size'], rows) };
}

/** What `ferry data pull` prints. */
export function describePull(report: PullReport, out: string): CommandResult {
  const { inputs, predictions, labels, signals, joined, labelled, superseded, rows, blobs, bytes, resumed } = report;
  const { missing, doubled, findings } = report;
  const text = fields({
    file: out,
    rows: `${rows} (${inputs} inputs, ${predictions} predictions, ${labels} labels, ${signals} signals)`,
    joined,
    labelled: superseded === 0 ? labelled : `${labelled} (${superseded} labels gave way to later ones)`,
    blobs: `${blobs} (${bytesText(bytes)}${resumed === 0 ? '' : `, ${resumed} of them read before`})`,
    missing,
    doubled,
    dropped: lossesText(report),
    findings: findings.length === 0 ? undefined : findings.join('\n'),
  });
  return { json: { ...report, file: out }, text };
}

/** What `ferry data status` prints. */
export function describeStatus(streams: readonly StreamStatus[], address: string): CommandResult {
  const json = { streams: streams.map(({ device, ...stream }) => ({ device: device ?? null, ...stream })) };
  if (streams.length === 0)
    return { json, text: `Nothing was collected yet: no device reports it, and ${address} is empty.` };
  const headings = ['device', 'service', 'model', 'designation', 'collected', 'uploaded', 'buffered', 'quarantined'];
  const rows = streams.map(({ device, service, model, version, designation, ledger, stored }) => [
    device ?? '',
    service,
    `${model}:${version}`,
    designation,
    ...(ledger === undefined
      ? ['', '', '', '', '']
      : [ledger.collected, ledger.uploaded, ledger.buffered, ledger.quarantined, pairsOf(ledger.dropped)]),
    stored.rows,
    bytesText(stored.bytes),
    stored.last ?? '',
  ]);
  return { json, text: table([...headings, 'dropped', 'stored', 'size', 'last'], rows) };
}

/** What `ferry data verify` prints; it fails where something is wrong. */
export function describeVerification(report: VerifyReport, address: string): CommandResult {
  const { blobs, rows, bytes, content, missing, doubled, unchecked, foreign, findings } = report;
  const text = fields({
    blobs: `${blobs} (${bytesText(bytes)}${content ? ', all of them read' : ', none of them read'})`,
    rows,
    missing,
    doubled,
    dropped: lossesText(report),
    unchecked: unchecked === 0 ? undefined : `${unchecked} blobs say nothing of themselves`,
    foreign: foreign.length === 0 ? undefined : foreign.join('\n'),
    wrong: findings.length === 0 ? undefined : findings.join('\n'),
  });
  if (findings.length === 0) return { json: report, text };
  const found = findings.length === 1 ? '1 thing is wrong' : `${findings.length} things are wrong`;
  const failure = new FerryError(
    'DATA_INCONSISTENT',
    `Cannot vouch for the rows in ${address}: ${found}, none was wanted`,
  );
  return { json: report, text, failure };
}

/** What `ferry data label` prints. */
export function describeLabels(report: LabelReport, labelled: { file: string; service: string }): CommandResult {
  const { rows, columns, blobs } = report;
  const text = fields({
    service: labelled.service,
    labels: `${rows} rows of ${columns.join(', ')}`,
    written: blobs === 0 ? 'nothing: they were there already' : `${blobs} ${blobs === 1 ? 'blob' : 'blobs'}`,
  });
  return { json: { ...report, ...labelled }, text };
}

function lossesText({ dropped, quarantined }: Pick<PullReport, 'dropped' | 'quarantined'>): string | undefined {
  const aside = quarantined === 0 ? {} : { 'put aside': quarantined };
  return pairsOf({ ...dropped, ...aside }) || undefined;
}

function pairsOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([reason, rows]) => `${rows} ${reason}`)
    .join(', ');
}
