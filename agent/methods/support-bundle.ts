import { freemem, loadavg, platform, release, totalmem, uptime } from 'node:os';
import { buffer } from 'node:stream/consumers';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { z } from 'zod';
import type { JsonObject } from '../report.ts';
import { logFilterSchema } from './log-selection.ts';
import { type MethodAnswer, type MethodContext, schemaVersion } from './method.ts';
import { blobTime, type ModuleLog, readModuleLogs } from './module-logs.ts';
import { sasUrl, storeBlob } from './sas-blob.ts';

const requestSchema = z.object({
  schemaVersion,
  sasUrl,
  since: logFilterSchema.shape.since,
  until: logFilterSchema.shape.until,
});

/**
 * Answers `UploadSupportBundle`: begins to store what somebody needs who is to find out what is wrong with the device, as one gzipped tar:
 * the modules' logs, how the agent and the machine are. Nothing in it is secret but what modules write to their logs.
 */
export async function uploadSupportBundle(payload: unknown, context: MethodContext): Promise<MethodAnswer> {
  const { sasUrl: sas, since, until } = requestSchema.parse(payload);
  const task = context.tasks.start(async (signal) => {
    const items = [{ id: /^/, filter: { since, until } }];
    const logs = await readModuleLogs({ items, contentType: 'text' }, context, signal);
    const name = `${context.hub}/${context.deviceId}/support-bundle-${blobTime(context.clock.nowMs())}.tar.gz`;
    await storeBlob(sas, name, await supportBundle(logs, context), signal);
  });
  return { status: 200, payload: task };
}

async function supportBundle(logs: readonly ModuleLog[], { report }: MethodContext): Promise<Buffer> {
  const tar = pack();
  const mtime = new Date();
  for (const { id, content } of logs) tar.entry({ name: `logs/${id}.log`, mtime }, content);
  tar.entry({ name: 'reported.json', mtime }, JSON.stringify(withoutEnvironment(report()), undefined, 2));
  tar.entry({ name: 'machine.json', mtime }, JSON.stringify(machine(), undefined, 2));
  tar.finalize();
  return buffer(tar.pipe(createGzip()));
}

/** Leaves out of a report what modules are given: keys are among it. */
function withoutEnvironment(report: JsonObject): unknown {
  return JSON.parse(
    JSON.stringify(report, (name, value: unknown) =>
      name === 'env' || name.startsWith('createOptions') ? undefined : value,
    ),
  );
}

function machine(): Record<string, unknown> {
  return {
    platform: platform(),
    release: release(),
    architecture: process.arch,
    node: process.versions.node,
    uptimeSeconds: Math.round(uptime()),
    loadAverage: loadavg(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    agentResidentBytes: process.memoryUsage.rss(),
  };
}
