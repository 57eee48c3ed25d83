import { spawn } from 'node:child_process';
import { open, readFile, rename, stat } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { withDeadline } from '../../../shared/deadline.ts';
import { FerryError, isFerryError, messageOf, systemCodeOf } from '../../../shared/errors.ts';
import { programCommand } from '../../../shared/programs.ts';
import { markFile, socketPath } from './host-place.ts';
import { type HostStatus, hostStatusSchema, logFile } from './host-state.ts';
import { isProcessAlive } from '../../../shared/oci/process-mark.ts';

/** How long a host may take to answer, and to start, in milliseconds. */
const answerTimeoutMs = 10_000;
const startTimeoutMs = 30_000;
const startPollMs = 10;
/** How long it may take to answer what there is, end its replicas and remove them, in milliseconds. */
const stopTimeoutMs = 360_000;
/** Largest log of a host that is added to; a larger one becomes the one before. */
const logBytesMax = 10 * 1024 * 1024;
/** Lines of a host's log that its failure to start repeats. */
const logLines = 5;

/** Asks the host of a service how it is; undefined when there is none. */
export async function hostStatus(folder: string, signal: AbortSignal): Promise<HostStatus | undefined> {
  const answer = await ask(folder, { method: 'GET', path: '/status', timeoutMs: answerTimeoutMs, signal });
  return answer === undefined ? undefined : hostStatusSchema.parse(answer);
}

/** Has the host read again what is wanted, or starts one. */
export async function wakeHost(folder: string, signal: AbortSignal): Promise<HostStatus> {
  const answer = await ask(folder, { method: 'POST', path: '/reload', timeoutMs: answerTimeoutMs, signal });
  return answer === undefined ? startHost(folder, signal) : hostStatusSchema.parse(answer);
}

/** Gives what each replica wrote; undefined when there is no host. */
export async function hostLogs(
  folder: string,
  { tail, sinceMs = 0 }: { readonly tail: number; readonly sinceMs?: number },
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  const path = `/logs?tail=${tail}&since=${sinceMs}`;
  const answer = await ask(folder, { method: 'GET', path, timeoutMs: answerTimeoutMs, signal });
  return answer === undefined ? undefined : z.record(z.string(), z.string()).parse(answer);
}

/** Has the host end its service and itself. @returns whether there was one */
export async function stopHost(folder: string, signal: AbortSignal): Promise<boolean> {
  const mark = await readFile(join(folder, markFile), 'utf8').catch(() => '');
  const answer = await ask(folder, { method: 'POST', path: '/stop', timeoutMs: stopTimeoutMs, signal });
  if (answer === undefined) return false;
  await withDeadline({ doing: 'end the host', timeoutMs: answerTimeoutMs, signal }, async (signal) => {
    while (isProcessAlive(mark)) await sleep(startPollMs, undefined, { signal });
  });
  return true;
}

async function startHost(folder: string, signal: AbortSignal): Promise<HostStatus> {
  const logPath = join(folder, logFile);
  const { size } = await stat(logPath).catch(() => ({ size: 0 }));
  if (size > logBytesMax) await rename(logPath, `${logPath}.1`);
  await using log = await open(logPath, 'a', 0o600);
  const [node = '', ...args] = programCommand('service-host');
  const child = spawn(node, [...args, folder], { detached: true, cwd: folder, stdio: ['ignore', log.fd, log.fd] });
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const onExit = (code: number | null): void => reject(new Error(`it ended with exit code ${code}`));
  child.once('exit', onExit);
  child.once('error', reject);
  const doing = `start the background program of the service in "${folder}"`;
  try {
    return await withDeadline({ doing, timeoutMs: startTimeoutMs, signal }, (signal) =>
      Promise.race([failed, untilAnswers(folder, signal)]),
    );
  } catch (error) {
    signal.throwIfAborted();
    const told = (await readFile(logPath, 'utf8').catch(() => '')).trimEnd().split('\n').slice(-logLines).join('\n');
    const why = isFerryError(error, 'TIMEOUT') ? 'it does not answer' : messageOf(error);
    throw new FerryError('SERVICE_FAILED', `Cannot ${doing}: ${why}: ${told || 'it wrote nothing'}`);
  } finally {
    child.removeListener('exit', onExit);
    // It goes on when this program ends, and this program does not wait for it.
    child.unref();
  }
}

async function untilAnswers(folder: string, signal: AbortSignal): Promise<HostStatus> {
  for (;;) {
    const status = await hostStatus(folder, signal);
    if (status !== undefined) return status;
    await sleep(startPollMs, undefined, { signal });
  }
}

interface Question {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Undefined when nobody listens. */
async function ask(folder: string, { method, path, timeoutMs, signal }: Question): Promise<unknown> {
  const doing = `ask the background program of the service in "${folder}"`;
  return withDeadline({ doing, timeoutMs, signal }, async (signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const asking = request({ socketPath: socketPath(folder), method, path, agent: false, signal });
    asking.on('error', (error) => {
      if (['ENOENT', 'ECONNREFUSED'].includes(systemCodeOf(error) ?? '')) resolve(undefined);
      else reject(error);
    });
    asking.on('response', (response) => {
      resolve(documentOf(response, doing));
    });
    asking.end();
    return promise;
  });
}

async function documentOf(response: IncomingMessage, doing: string): Promise<unknown> {
  const document: unknown = JSON.parse(await textOf(response));
  if (response.statusCode === 200) return document;
  throw new FerryError('SERVICE_FAILED', `Cannot ${doing}: ${messageIn(document)}`);
}

function messageIn(document: unknown): string {
  return z.object({ message: z.string() }).safeParse(document).data?.message ?? 'it failed';
}
