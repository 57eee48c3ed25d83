import { once } from 'node:events';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { enginePackageNames } from '../../../../cloud/images/engine-packages.ts';
import { bundleServer } from '../../../../cloud/images/server-bundle.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { connectGrpc } from '../grpc/grpc-rig.ts';
import { startProgram } from '../scoring-program.ts';
import { makeRoot, readDigits, scoringEntry, startScoring } from '../scoring-rig.ts';
import { attributesOf, collectorCertificate, startCollector } from './collector-rig.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callerSpan = 'b7ad6b7169203331';
const caller = { traceparent: `00-${traceId}-${callerSpan}-01` };

/** Answers with the trace that it finds itself in, or fails. */
const script = `export const run = ({ fail }, { headers }) => {
  if (fail) throw new RangeError('beyond what is known');
  return headers.traceparent;
};`;

test('requests become spans below those of their callers, and failures become log records, in both places', async () => {
  await using folder = await temporaryFolder();
  await using collector = await startCollector();
  await makeRoot(folder.path, { script });
  const secret = join(folder.path, 'connection-string');
  await writeFile(secret, `${collector.connectionString}\n`);
  await using program = startProgram(folder.path, {
    WORKER_COUNT: '1',
    SERVICE_NAME: 'digits-service',
    NODE_EXTRA_CA_CERTS: collectorCertificate,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-team=vision%20two',
    MODELFERRY_APPLICATION_INSIGHTS_FILE: secret,
  });
  const url = await program.url();
  const ids = { 'x-request-id': 'r-1', 'x-ms-client-request-id': 'c-1' };
  const post = (body: string): Promise<Response> =>
    fetch(`${url}/score`, { method: 'POST', body, headers: { ...caller, ...ids } });
  const seenByScript = (await (await post('{}')).json()) as string;
  expect((await post('{"fail":true}')).status).toBe(500);

  const spans = await until(() => (collector.spans.length >= 2 ? collector.spans : undefined));
  const [good, bad] = spans;
  expect(good).toMatchObject({ name: 'POST /score', traceId, parentSpanId: callerSpan, status: { code: 0 } });
  expect(seenByScript).toBe(`00-${traceId}-${good?.spanId}-01`);
  expect(bad).toMatchObject({ traceId, parentSpanId: callerSpan, status: { code: 2 } });
  expect(good === undefined ? undefined : attributesOf(good)).toMatchObject({
    'http.response.status_code': 200,
    'modelferry.request_id': 'r-1',
    'modelferry.client_request_id': 'c-1',
    'modelferry.run_ms': expect.any(Number) as number,
  });
  expect(collector.headers).toContain('vision two');

  // One line is the server's, with the ids of the trace; the other comes from the worker, with what was thrown.
  const failed = await until(() => collector.logs.find(({ body }) => body?.stringValue === 'could not score'));
  expect(failed).toMatchObject({ severityText: 'ERROR', traceId, spanId: bad?.spanId });
  const thrown = await until(() =>
    collector.logs.find(({ body }) => body?.stringValue === 'the scoring script failed'),
  );
  expect(attributesOf(thrown)).toMatchObject({
    requestId: 'r-1',
    'exception.type': 'RangeError',
    'exception.message': 'beyond what is known',
  });

  const envelope = (baseType: string): Record<string, unknown> | undefined =>
    collector.envelopes.find(({ data }) => data.baseType === baseType)?.data.baseData;
  const requests = await until(() => {
    const found = collector.envelopes.filter(({ data }) => data.baseType === 'RequestData');
    return found.length >= 2 ? found : undefined;
  });
  expect(requests[0]?.iKey).toBe('00000000-0000-0000-0000-000000000001');
  expect(requests[0]?.tags).toMatchObject({ 'ai.operation.id': traceId, 'ai.operation.parentId': callerSpan });
  expect(requests[0]?.tags['ai.cloud.role']).toContain('digits-service');
  expect(requests.map(({ data }) => data.baseData)).toMatchObject([
    { name: 'POST /score', responseCode: '200', success: true },
    { name: 'POST /score', responseCode: '500', success: false },
  ]);
  await until(() => envelope('MessageData'));
  const exception = await until(() => envelope('ExceptionData'));
  expect(exception).toMatchObject({ exceptions: [{ typeName: 'RangeError', message: 'beyond what is known' }] });
});

test('an inference over gRPC becomes a span as well, and each request a line of the log where that is wanted', async () => {
  await using folder = await temporaryFolder();
  await using collector = await startCollector();
  await makeRoot(folder.path);
  await using program = startProgram(folder.path, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    MODELFERRY_GRPC_PORT: '0',
    MODELFERRY_LOG_REQUESTS: 'true',
  });
  await program.url();
  using client = connectGrpc(program.lines().find(({ msg }) => msg === 'ready')?.grpcPort);
  const tensor = { name: 'pixels', datatype: 'FP32', shape: [1, 64] };
  const message = { model_name: 'digits', inputs: [tensor], raw_input_contents: [Buffer.alloc(256)] };
  const { code } = await client.call('ModelInfer', message, { headers: { ...caller, 'x-request-id': 'g-1' } });
  expect(code).toBe(0);
  const path = '/inference.GRPCInferenceService/ModelInfer';
  const span = await until(() => collector.spans.find(({ name }) => name === path));
  expect(span).toMatchObject({ traceId, parentSpanId: callerSpan });
  expect(program.lines()).toContainEqual(
    expect.objectContaining({
      msg: 'answered',
      requestId: 'g-1',
      path,
      status: 200,
      traceId,
      model: 'digits',
    }) as object,
  );
});

test('a collector that is down, or takes everything and says nothing, does no harm', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const { pixels } = await readDigits();
  for (const endpoint of ['http://127.0.0.1:1', `http://127.0.0.1:${port}`]) {
    await using rig = await startScoring({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } });
    // More than may wait to be sent.
    for (let round = 0; round < 25; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 100 }, async () => (await rig.post('/score', { pixels: [pixels[0]] })).status),
      );
      expect(new Set(answers)).toEqual(new Set([200]));
    }
    const startMs = performance.now();
    await rig.server.stop();
    expect(performance.now() - startMs).toBeLessThan(4000);
  }
  silent.close();
});

test('a connection string that is none ends the start', async () => {
  const environment = { APPLICATIONINSIGHTS_CONNECTION_STRING: 'nonsense' };
  await expect(startScoring({ environment })).rejects.toMatchObject({ code: 'USAGE' });
});

test('the modules that images have answer gRPC and send telemetry, with nothing beside them but native packages', async () => {
  await using folder = await temporaryFolder();
  await using collector = await startCollector();
  await makeRoot(folder.path);
  const place = join(folder.path, 'opt/modelferry');
  await mkdir(join(place, 'node_modules'), { recursive: true });
  for (const name of enginePackageNames)
    await symlink(
      fileURLToPath(new URL(`../../../../node_modules/${name}`, import.meta.url)),
      join(place, 'node_modules', name),
    );
  for (const { name, content } of (await bundleServer()).modules) await writeFile(join(place, name), content);
  await using program = startProgram(
    folder.path,
    {
      MODELFERRY_GRPC_PORT: '0',
      NODE_EXTRA_CA_CERTS: collectorCertificate,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
      APPLICATIONINSIGHTS_CONNECTION_STRING: collector.connectionString,
    },
    { entry: join(place, 'server.mjs') },
  );
  await program.url();
  using client = connectGrpc(program.lines().find(({ msg }) => msg === 'ready')?.grpcPort);
  const tensor = { name: 'pixels', datatype: 'FP32', shape: [1, 64] };
  const message = { model_name: 'digits', inputs: [tensor], raw_input_contents: [Buffer.alloc(256)] };
  expect(await client.call('ModelInfer', message)).toMatchObject({ code: 0, message: '' });
  await until(
    () => collector.spans.length > 0 && collector.envelopes.some(({ data }) => data.baseType === 'RequestData'),
  );
  program.process.kill('SIGTERM');
  expect(await program.exitCode()).toBe(0);
});

test('a server without gRPC, telemetry and uploads reads none of what they need', async () => {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(scoringEntry)],
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    outdir: 'out',
    platform: 'node',
    format: 'esm',
    external: ['onnxruntime-node', 'better-sqlite3'],
  });
  const lateOnly = /(run-upload-thread|grpc-listener|telemetry|otlp-exporters|azure-exporters)\.ts$/;
  const read = new Set<string>();
  const visit = (output: string): void => {
    if (read.has(output) || lateOnly.test(metafile.outputs[output]?.entryPoint ?? '')) return;
    read.add(output);
    for (const { path, external } of metafile.outputs[output]?.imports ?? []) if (external !== true) visit(path);
  };
  for (const [output, { entryPoint }] of Object.entries(metafile.outputs)) {
    if (entryPoint?.endsWith('agent/scoring/main.ts') === true) visit(output);
  }
  const inputs = [...read].flatMap((output) => Object.keys(metafile.outputs[output]?.inputs ?? {}));
  expect(inputs).toContainEqual(expect.stringContaining('agent/scoring/http/router.ts'));
  expect(inputs.filter((input) => /node_modules\/(@grpc|@azure|protobufjs|@opentelemetry\/sdk)/.test(input))).toEqual(
    [],
  );
});
