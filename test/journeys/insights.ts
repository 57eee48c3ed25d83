import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { openCertificates } from '../../simulators/certificates.ts';
import { until } from '../until.ts';

/** What the ingestion endpoint is sent: a request, a line of a log, an exception. */
interface Envelope {
  readonly iKey: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly data: { readonly baseType: string; readonly baseData: Readonly<Record<string, unknown>> };
}

/** Takes what goes to Application Insights, with the certificate of a local world, which replicas trust for its storage. */
export class Insights implements AsyncDisposable {
  readonly #server: ReturnType<typeof createServer>;
  readonly #folder: string;
  /** The instrumentation key, by which the connection string is found wherever it is. */
  readonly key = randomUUID();
  readonly envelopes: Envelope[] = [];

  private constructor(folder: string, certificate: { readonly cert: string; readonly key: string }) {
    this.#folder = folder;
    this.#server = createServer(certificate, (incoming, response) => {
      void this.#take(incoming).then((count) =>
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ itemsReceived: count, itemsAccepted: count, errors: [] })),
      );
    });
  }

  /** Starts it, and gives its connection string to the workspace of a folder in which a local world runs. */
  static async start(folder: string): Promise<Insights> {
    const { certPem, keyPem } = await openCertificates(join(folder, '.ferry', 'world', 'certificates'));
    const insights = new Insights(folder, { cert: certPem, key: keyPem });
    insights.#server.listen(0, '127.0.0.1');
    await once(insights.#server, 'listening');
    await insights.#giveToWorkspace();
    return insights;
  }

  /** Waits for the trace of a scored request, and for a line of the log, both of one service. */
  async untilArrived(service: string): Promise<void> {
    const of = (baseType: string): Envelope[] =>
      this.envelopes.filter(
        ({ iKey, tags, data }) =>
          iKey === this.key && tags['ai.cloud.role']?.includes(service) === true && data.baseType === baseType,
      );
    await until(
      () =>
        of('MessageData').some(({ data }) => data.baseData['message'] === 'ready') &&
        of('RequestData').some(
          ({ data: { baseData } }) => baseData['name'] === 'POST /score' && baseData['responseCode'] === '200',
        ),
      { timeoutMs: 60_000, what: 'a trace and a log line of the service' },
    );
  }

  /** Gives the files of the workspace that the connection string is in, but for the one that the user keeps it in. */
  async filesWithKey(): Promise<string[]> {
    const workspace = join(this.#folder, '.ferry');
    const entries = await readdir(workspace, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    const found: string[] = [];
    for (const file of files) {
      // What ends meanwhile may take its files with it.
      const content = await readFile(file).catch(() => Buffer.alloc(0));
      if (content.includes(this.key)) found.push(file.slice(workspace.length + 1));
    }
    return found.filter((file) => file !== 'secrets.json');
  }

  async #take(incoming: IncomingMessage): Promise<number> {
    const body = await buffer(incoming);
    const text = (incoming.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
    // An array, or one a line: the service takes both.
    const lines = text.startsWith('[') ? [text] : text.split('\n').filter((line) => line !== '');
    const sent = lines.flatMap((line) => JSON.parse(line) as Envelope | Envelope[]);
    this.envelopes.push(...sent);
    return sent.length;
  }

  async #giveToWorkspace(): Promise<void> {
    const { port } = this.#server.address() as AddressInfo;
    const file = join(this.#folder, '.ferry', 'secrets.json');
    const secrets = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as Record<string, string>;
    secrets['appInsightsConnectionString'] =
      `InstrumentationKey=${this.key};IngestionEndpoint=https://localhost:${port}/`;
    await writeFile(file, JSON.stringify(secrets), { mode: 0o600 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
