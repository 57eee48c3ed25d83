import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import type { ContainerEngine } from '../shared/containers/engine.ts';
import { messageOf } from '../shared/errors.ts';

/** What a direct method is answered with. */
export interface MethodAnswer {
  readonly status: number;
  readonly payload?: unknown;
}

/** What methods act on. */
export interface MethodContext {
  readonly engine: ContainerEngine;
  readonly restart: (module: string, signal: AbortSignal) => Promise<void>;
}

/** Largest answer in bytes; the hub takes 128 KB (IoT Edge, ModuleLogsResponse). */
const answerBytesMax = 127_000;
/** How long a method may take, in milliseconds: callers wait 30 s unless they say otherwise. */
const methodTimeoutMs = 60_000;

/** A payload that IoT Edge's methods take: schema version of the same major as ours. */
const schemaVersion = z.string().regex(/^1(?:\.|$)/, 'schemaVersion "1.0"');

const restartSchema = z.object({ schemaVersion, id: z.string().min(1) });

const logItemSchema = z.object({
  /** A regular expression over module names. */
  id: z.string().min(1),
  filter: z
    .strictObject({
      tail: z.int().positive().nullish(),
      /** A regular expression over lines. */
      regex: z.string().nullish(),
    })
    .nullish(),
});

const logsSchema = z.object({
  schemaVersion,
  items: z.union([z.array(logItemSchema), logItemSchema.transform((item) => [item])]),
  encoding: z.enum(['none', 'gzip']).default('none'),
  contentType: z.enum(['json', 'text']).default('text'),
});

type Handler = (payload: unknown, context: MethodContext, signal: AbortSignal) => Promise<MethodAnswer>;

/** The direct methods of `$edgeAgent` that are there, by their names in lower case. */
const methods: Readonly<Record<string, Handler>> = {
  ping: async () => ({ status: 200 }),
  async restartmodule(payload, { restart }, signal) {
    await restart(restartSchema.parse(payload).id, signal);
    return { status: 200 };
  },
  getmodulelogs,
};

/**
 * Answers a direct method as IoT Edge's agent does: names without regard to case, 400 for an unknown one or a payload that is not what it
 * takes, 500 for a failure.
 * @see https://learn.microsoft.com/azure/iot-edge/how-to-edgeagent-direct-method
 */
export async function answerMethod(name: string, payload: unknown, context: MethodContext): Promise<MethodAnswer> {
  const handler = methods[name.toLowerCase()];
  if (handler === undefined) {
    const message = `Command '${name}' not found. The supported commands are - ping, RestartModule, GetModuleLogs`;
    return { status: 400, payload: { message } };
  }
  try {
    return await handler(payload, context, AbortSignal.timeout(methodTimeoutMs));
  } catch (error) {
    if (error instanceof z.ZodError) {
      const problems = error.issues.map((issue) => `${issue.path.join('.') || 'payload'}: ${issue.message}`);
      return { status: 400, payload: { message: problems.join('; ') } };
    }
    return { status: 500, payload: { message: messageOf(error) } };
  }
}

async function getmodulelogs(payload: unknown, { engine }: MethodContext, signal: AbortSignal): Promise<MethodAnswer> {
  const { items, encoding, contentType } = logsSchema.parse(payload);
  const names = (await engine.list(signal)).map(({ name }) => name);
  const wanted = items.flatMap(({ id, filter }) =>
    names.filter((name) => expression(id).test(name)).map((name) => ({ name, filter: filter ?? {} })),
  );
  if (wanted.length === 0) return { status: 400, payload: { message: 'No module has a name that was asked for' } };
  const logs = await Promise.all(
    wanted.map(async ({ name, filter }) => {
      const text = await engine.logs(name, filter.tail ? { tail: filter.tail } : {}, signal);
      const lines = filter.regex ? matching(text, expression(filter.regex)) : text;
      const content = contentType === 'json' ? JSON.stringify(asJson(name, lines)) : lines;
      return encoding === 'gzip'
        ? { id: name, payloadBytes: gzipSync(content).toString('base64') }
        : { id: name, payload: content };
    }),
  );
  const bytes = Buffer.byteLength(JSON.stringify(logs));
  if (bytes <= answerBytesMax) return { status: 200, payload: logs };
  const message = `The logs have ${bytes} bytes, at most ${answerBytesMax} can be answered: ask for fewer lines (filter.tail)`;
  return { status: 400, payload: { message } };
}

function expression(source: string): RegExp {
  try {
    return new RegExp(source);
  } catch {
    throw new z.ZodError([
      { code: 'custom', path: ['items'], message: `"${source}" is no regular expression`, input: source },
    ]);
  }
}

function matching(text: string, filter: RegExp): string {
  return text
    .split('\n')
    .filter((line) => filter.test(line))
    .map((line) => `${line}\n`)
    .join('');
}

function asJson(id: string, text: string): { id: string; text: string }[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ id, text: line }));
}
