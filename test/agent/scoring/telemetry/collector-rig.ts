import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** The certificate that the ingestion endpoint shows; what sends to it has to trust it. */
export const collectorCertificate = fileURLToPath(new URL('../../../data/certificates/localhost.pem', import.meta.url));

/** An attribute of OTLP's JSON. */
interface OtlpAttribute {
  readonly key: string;
  readonly value: Record<string, unknown>;
}

/** A span or a log record of OTLP's JSON. */
export interface OtlpItem {
  readonly name?: string;
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  readonly severityText?: string;
  readonly body?: { readonly stringValue: string };
  readonly status?: { readonly code: number };
  readonly attributes: readonly OtlpAttribute[];
}

/** An envelope of Application Insights. */
export interface Envelope {
  readonly name: string;
  readonly iKey: string;
  readonly tags: Record<string, string>;
  readonly data: { readonly baseType: string; readonly baseData: Record<string, unknown> };
}

/** Plays an OTLP collector and Application Insights' ingestion endpoint. */
export interface CollectorRig extends AsyncDisposable {
  /** What the environment has to name. */
  readonly endpoint: string;
  readonly connectionString: string;
  readonly headers: readonly (string | undefined)[];
  readonly spans: readonly OtlpItem[];
  readonly logs: readonly OtlpItem[];
  readonly envelopes: readonly Envelope[];
}

/** Starts to listen for both. */
export async function startCollector(): Promise<CollectorRig> {
  const spans: OtlpItem[] = [];
  const logs: OtlpItem[] = [];
  const envelopes: Envelope[] = [];
  const headers: (string | undefined)[] = [];
  const collect = async (request: IncomingMessage): Promise<object> => {
    const body = await buffer(request);
    const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
    if (request.url?.endsWith('/track') === true) {
      // One envelope a line, or an array of them: the service takes both.
      const sent = (
        text.startsWith('[') ? JSON.parse(text) : text.split('\n').map((line) => JSON.parse(line) as unknown)
      ) as Envelope[];
      envelopes.push(...sent);
      return { itemsReceived: sent.length, itemsAccepted: sent.length, errors: [] };
    }
    headers.push(request.headers['x-team'] as string | undefined);
    const sent = JSON.parse(text) as {
      resourceSpans?: { scopeSpans: { spans: OtlpItem[] }[] }[];
      resourceLogs?: { scopeLogs: { logRecords: OtlpItem[] }[] }[];
    };
    spans.push(...(sent.resourceSpans ?? []).flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
    logs.push(...(sent.resourceLogs ?? []).flatMap(({ scopeLogs }) => scopeLogs.flatMap((scope) => scope.logRecords)));
    return {};
  };
  const answer: RequestListener = (request, response) => {
    void collect(request).then((document) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document)),
    );
  };
  const otlp = createServer(answer).listen(0, '127.0.0.1');
  const key = collectorCertificate.replace('.pem', '.key.pem');
  const ingestion = createTlsServer({ cert: readFileSync(collectorCertificate), key: readFileSync(key) }, answer);
  ingestion.listen(0, '127.0.0.1');
  await Promise.all([once(otlp, 'listening'), once(ingestion, 'listening')]);
  const port = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
  return {
    endpoint: `http://127.0.0.1:${port(otlp)}`,
    connectionString: `InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=https://localhost:${port(ingestion)}/`,
    headers,
    spans,
    logs,
    envelopes,
    [Symbol.asyncDispose]: async () => {
      for (const server of [otlp, ingestion]) {
        server.closeAllConnections();
        server.close();
        await once(server, 'close');
      }
    },
  };
}

/** Gives the attributes as an object of plain values. */
export function attributesOf({ attributes }: OtlpItem): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
