import { z } from 'zod';
import { messageOf } from '../../shared/errors.ts';
import { backgroundTaskStatus } from './background-tasks.ts';
import { getModuleLogs, uploadModuleLogs } from './module-logs.ts';
import { type MethodAnswer, type MethodContext, schemaVersion } from './method.ts';
import { releaseQuarantined } from './release-quarantined.ts';
import { scoreModule } from './score-module.ts';
import { uploadSupportBundle } from './support-bundle.ts';

/** How long a method may take, in milliseconds: callers wait 30 s unless they say otherwise. */
const methodTimeoutMs = 60_000;

const restartSchema = z.object({ schemaVersion, id: z.string().min(1) });

type Handler = (payload: unknown, context: MethodContext, signal: AbortSignal) => Promise<MethodAnswer>;

/** The direct methods of `$edgeAgent`, by the names that documents write; all but the last two are IoT Edge's. */
const methods: Readonly<Record<string, Handler>> = {
  ping: async () => ({ status: 200 }),
  RestartModule: async (payload, { restart }, signal) => {
    await restart(restartSchema.parse(payload).id, signal);
    return { status: 200 };
  },
  GetModuleLogs: getModuleLogs,
  UploadModuleLogs: uploadModuleLogs,
  UploadSupportBundle: uploadSupportBundle,
  GetTaskStatus: async (payload, context) => backgroundTaskStatus(payload, context.tasks),
  ScoreModule: scoreModule,
  ReleaseQuarantine: releaseQuarantined,
};

const handlers = new Map(Object.entries(methods).map(([name, handler]) => [name.toLowerCase(), handler]));

/**
 * Answers a direct method as IoT Edge's agent does: names without regard to case, 400 for an unknown one or a payload that is not what it
 * takes, 500 for a failure.
 * @see https://learn.microsoft.com/azure/iot-edge/how-to-edgeagent-direct-method
 */
export async function answerMethod(name: string, payload: unknown, context: MethodContext): Promise<MethodAnswer> {
  const handler = handlers.get(name.toLowerCase());
  if (handler === undefined) {
    const supported = Object.keys(methods).join(', ');
    const message = `Command '${name}' not found. The supported commands are - ${supported}`;
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
