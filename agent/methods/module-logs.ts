import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { rehearsingModule } from '../rehearsal-spec.ts';
import { isWanted, levelOf, type LogItem, logItemSchema } from './log-selection.ts';
import { answerBytesMax, type MethodAnswer, type MethodContext, schemaVersion } from './method.ts';
import { sasUrl, storeBlob } from './sas-blob.ts';

const requestSchema = z.object({
  schemaVersion,
  /** One, or several. */
  items: z.preprocess((items) => (Array.isArray(items) ? items : [items]), z.array(logItemSchema).min(1)),
  encoding: z.enum(['none', 'gzip']).default('none'),
  contentType: z.enum(['json', 'text']).default('text'),
});

const uploadSchema = requestSchema.extend({ sasUrl });

/** What part of which modules' logs is wanted, and how. */
type LogRequest = z.infer<typeof requestSchema>;

/** The wanted lines of one module's log. */
export interface ModuleLog {
  readonly id: string;
  readonly content: string;
}

/** Answers `GetModuleLogs`: lines of modules' logs, as far as an answer can hold them. */
export async function getModuleLogs(
  payload: unknown,
  context: MethodContext,
  signal: AbortSignal,
): Promise<MethodAnswer> {
  const wanted = requestSchema.parse(payload);
  const logs = await readModuleLogs(wanted, context, signal);
  if (logs.length === 0) return { status: 400, payload: { message: 'No module has a name that was asked for' } };
  const answer = logs.map(({ id, content }) =>
    wanted.encoding === 'gzip' ? { id, payloadBytes: gzipSync(content).toString('base64') } : { id, payload: content },
  );
  const bytes = Buffer.byteLength(JSON.stringify(answer));
  if (bytes <= answerBytesMax) return { status: 200, payload: answer };
  const message = `The logs have ${bytes} bytes, at most ${answerBytesMax} can be answered: ask for fewer lines (filter.tail), or for UploadModuleLogs`;
  return { status: 400, payload: { message } };
}

/** Answers `UploadModuleLogs`: begins to store each module's log as a blob of its own. */
export async function uploadModuleLogs(payload: unknown, context: MethodContext): Promise<MethodAnswer> {
  const wanted = uploadSchema.parse(payload);
  const task = context.tasks.start(async (signal) => {
    const stamp = blobTime(context.clock.nowMs());
    for (const { id, content } of await readModuleLogs(wanted, context, signal)) {
      const ending = `${wanted.contentType === 'json' ? 'json' : 'log'}${wanted.encoding === 'gzip' ? '.gz' : ''}`;
      const name = `${context.hub}/${context.deviceId}/${id}-${stamp}.${ending}`;
      await storeBlob(
        wanted.sasUrl,
        name,
        wanted.encoding === 'gzip' ? gzipSync(content) : Buffer.from(content),
        signal,
      );
    }
  });
  return { status: 200, payload: task };
}

/** Reads the wanted lines of the wanted modules. */
export async function readModuleLogs(
  wanted: Pick<LogRequest, 'items' | 'contentType'>,
  context: MethodContext,
  signal: AbortSignal,
): Promise<ModuleLog[]> {
  const all = (await context.engine.list(signal)).map(({ name }) => name);
  const names = all.filter((name) => rehearsingModule(name) === undefined);
  const chosen = wanted.items.flatMap(({ id, filter }) =>
    names.filter((name) => id.test(name)).map((name) => ({ name, filter })),
  );
  return Promise.all(
    chosen.map(async ({ name, filter }) => {
      const lines = await readLines(name, filter, context, signal);
      const content =
        wanted.contentType === 'json'
          ? JSON.stringify(lines.map((line) => asEntry(line, name, context)))
          : lines.map((line) => `${line}\n`).join('');
      return { id: name, content };
    }),
  );
}

async function readLines(
  name: string,
  filter: LogItem['filter'],
  { engine, clock }: MethodContext,
  signal: AbortSignal,
): Promise<string[]> {
  const nowMs = clock.nowMs();
  const text = await engine.logs(
    name,
    {
      ...(typeof filter?.tail === 'number' ? { tail: filter.tail } : {}),
      ...(filter?.since ? { sinceMs: filter.since(nowMs) } : {}),
      ...(filter?.until ? { untilMs: filter.until(nowMs) } : {}),
    },
    signal,
  );
  return text.split('\n').filter((line) => line !== '' && isWanted(line, filter));
}

/** Makes of a line what IoT Edge's agent makes of it. */
function asEntry(line: string, id: string, { hub, deviceId }: MethodContext): Record<string, unknown> {
  const text = line.replace(/^<[0-7]> ?/, '');
  return { iothub: hub, device: deviceId, id, stream: 'stdout', loglevel: levelOf(line), text };
}

/** Gives a time as it stands in names of blobs: `2026-11-22--13-05-09`. */
export function blobTime(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replace('T', '--').replaceAll(':', '-');
}
