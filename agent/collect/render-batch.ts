import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FeatureSet } from './feature-set.ts';
import { contentTypes, openFile } from './formats/open-file.ts';
import { requestsIn } from './row-block.ts';
import type { Batch, Sealing } from './sealing.ts';
import type { UploadDestination } from './upload-destination.ts';

/** All metadata of a blob may have 8 KB; types that are longer than this are left out. */
const typesLengthMax = 4096;

/** Makes the blob of a sealed batch: the same one however often. Lets the process do other things between two blocks. */
export async function renderBatch(sealing: Sealing, batch: Batch): Promise<Parameters<UploadDestination['upload']>[0]> {
  const { format, name, features } = batch;
  const file = await openFile(format, batch);
  for (const packed of sealing.blocks(batch)) {
    for (const request of requestsIn(packed, features)) file.append(request);
    await nextTurn();
  }
  const content = file.finish();
  return { name, content, contentType: contentTypes[format], metadata: metadataOf(batch, content) };
}

/** What a blob says of itself, so that storage alone shows whether something is missing. Azure wants names that are C# identifiers. */
function metadataOf(batch: Batch, content: Uint8Array): Record<string, string> {
  const types = typesOf(batch.features);
  return {
    rows: String(batch.rows),
    firstseq: String(batch.firstSeq),
    lastseq: String(batch.lastSeq),
    bufferid: batch.bufferId,
    // rows + dropped = lastseq - firstseq + 1, so that the ranges of a buffer leave nothing unexplained.
    ...(batch.dropped === '' ? {} : { dropped: batch.dropped }),
    ...(batch.aside === '' ? {} : { quarantined: batch.aside }),
    format: batch.format,
    ...(types.length > typesLengthMax ? {} : { types }),
    sha256: createHash('sha256').update(content).digest('hex'),
  };
}

/** Names the types of the columns, in order, since text does not: `float32:64,int64`. */
function typesOf(features: FeatureSet): string {
  return features.map(({ type, width }) => (width === 1 ? type : `${type}:${width}`)).join(',');
}
