import { createHmac } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { runAgent } from '../../agent/run.ts';
import { ProcessEngine } from '../../shared/containers/process/process-engine.ts';
import { edgeManifest, type ModuleToDeploy } from '../../shared/edge/build-manifest.ts';
import { parseDeviceConnectionString, parseServiceConnectionString } from '../../shared/edge/connection-string.ts';
import { createLogger } from '../../shared/log.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { openCertificates } from '../../simulators/certificates.ts';
import { type Hub, type HubOptions, startHub } from '../../simulators/hub/hub.ts';
import { type Registry, startRegistry } from '../../simulators/registry/registry.ts';
import { putTestImage } from '../shared/containers/test-image.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

/** What a test sees of a module in the twin of `$edgeAgent`. */
interface ReportedModule {
  readonly runtimeStatus: string;
  readonly restartCount: number;
  readonly lastStartTimeUtc: string;
}

/** What a test sees of the twin of `$edgeAgent`. */
export interface AgentTwin {
  readonly properties: {
    readonly desired: { readonly $version: number };
    readonly reported: {
      readonly lastDesiredVersion?: number;
      readonly lastDesiredStatus?: { readonly code: number; readonly description: string };
      readonly modules?: Readonly<Record<string, ReportedModule>>;
    };
  };
}

/** An agent that runs in the test's process. */
export interface RunningAgent extends AsyncDisposable {
  /** Comes when it has ended, with what it threw. */
  readonly ended: Promise<void>;
  /** Tells it to end and waits until it has. */
  stop(): Promise<void>;
}

/** How a test's agent differs from the usual one. */
export interface AgentChanges {
  readonly engine?: 'docker' | 'process';
  readonly keepModules?: boolean;
  readonly uploadEveryMs?: number;
  readonly connectionString?: string;
  readonly metricsAddress?: { readonly host: string; readonly port: number };
}

/** A module that says hello and waits until it is told to end, or until a file `code` says the exit code. */
export const waitingScript = `
trap 'exit 0' TERM
echo "hello from $IOTEDGE_MODULEID, $WORD"
echo $$ > "$MODELFERRY_DATA_DIR/pid"
while true; do
  if [ -f "$MODELFERRY_DATA_DIR/code" ]; then exit $(cat "$MODELFERRY_DATA_DIR/code"); fi
  sleep 0.05
done
`;

/**
 * A module that scores: every row gives `ANSWER`. `FAILS` is the share of requests that it fails, but never its sample; `READY` is what it says
 * when it is asked whether it is; with `ENDS` it ends with that code.
 */
const scoringScript = `
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
const { ANSWER = '1', FAILS = '0', READY = '200', ENDS, API_KEY = '' } = process.env;
const { MODELFERRY_HOST = '0.0.0.0', MODELFERRY_PORT = '5001', MODELFERRY_DATA_DIR } = process.env;
if (ENDS !== undefined) {
  console.error('cannot load the model with ' + API_KEY);
  process.exit(Number(ENDS));
}
const counts = { 200: 0, 500: 0 };
createServer((request, response) => {
  if (request.url === '/v2/health/ready') return response.writeHead(Number(READY)).end();
  if (request.url === '/metrics') {
    const lines = Object.entries(counts).map(([code, n]) => 'modelferry_requests_total{model="m",code="' + code + '"} ' + n);
    return response.end(lines.join('\\n') + '\\n');
  }
  const isSample = request.headers['x-request-id'] === 'modelferry-sample';
  const status = !isSample && (counts[200] + counts[500]) % 10 < Number(FAILS) * 10 ? 500 : 200;
  counts[status] += 1;
  response.writeHead(status).end(JSON.stringify({ y: [Number(ANSWER)] }));
}).listen(Number(MODELFERRY_PORT), MODELFERRY_HOST);
writeFileSync(MODELFERRY_DATA_DIR + '/pid', process.pid + '\\n');
process.on('SIGTERM', () => process.exit(0));
`;

/** The name of the device of every rig. */
export const deviceId = 'gate';

/** A hub with an edge device, a registry, and a folder for an agent's state: all real, all of this test alone. */
export class Rig implements AsyncDisposable {
  readonly folder: string;
  readonly stateFolder: string;
  readonly caFile: string;
  readonly hub: Hub;
  readonly registry: Registry;
  readonly #layout: LayoutStore;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    folder: string;
    stateFolder: string;
    caFile: string;
    hub: Hub;
    registry: Registry;
    layout: LayoutStore;
    stack: AsyncDisposableStack;
  }) {
    this.folder = parts.folder;
    this.stateFolder = parts.stateFolder;
    this.caFile = parts.caFile;
    this.hub = parts.hub;
    this.registry = parts.registry;
    this.#layout = parts.layout;
    this.#stack = parts.stack;
  }

  /**
   * @param changes.stateFolder folder of the agent's state. @default one beside everything else
   * @param changes.hubFolder where the hub keeps what outlives it. @default in memory
   */
  static async open(
    changes: Partial<Pick<HubOptions, 'storage' | 'certificates'>> & {
      readonly stateFolder?: string;
      readonly hubFolder?: string;
    } = {},
  ): Promise<Rig> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder()).path;
    const certificates = changes.certificates ?? (await openCertificates(join(folder, 'certificates')));
    trustAlso(certificates.caFile);
    const { stateFolder = join(folder, 'state'), hubFolder, ...ofHub } = changes;
    const kept = hubFolder === undefined ? {} : { folder: hubFolder };
    const hub = stack.use(await startHub({ ...ofHub, ...kept, certificates }));
    const layout = await LayoutStore.open(join(folder, 'registry'));
    const log = createLogger('registry', { level: 'silent' });
    const registry = stack.use(await startRegistry({ layoutDir: layout.folder, port: 0, log }));
    const rig = new Rig({
      folder,
      stateFolder,
      caFile: certificates.caFile,
      hub,
      registry,
      layout,
      stack: stack.move(),
    });
    await rig.request('PUT', `/devices/${deviceId}`, { deviceId, capabilities: { iotEdge: true } });
    return rig;
  }

  get connectionString(): string {
    return this.hub.deviceConnectionString(deviceId);
  }

  /** Folder that a module keeps its data in. */
  dataFolder(module: string): string {
    return join(this.stateFolder, 'modules', module, 'data');
  }

  /** Puts an image into the registry and gives its name, by digest. */
  async putImage(script: string = waitingScript): Promise<string> {
    return `${this.registry.host}/test@${await putTestImage(this.#layout, { script })}`;
  }

  /** Puts the image of a {@link scoringScript} into the registry, with a sample that is to give such an answer. */
  async putScoringImage({ script = '', answer = 1 }: { script?: string; answer?: number } = {}): Promise<string> {
    const signature = {
      inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
      outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
    };
    const sample = { input: { x: [0] }, output: { y: [answer] } };
    const model = { name: 'm', version: 1, format: 'onnx', path: '/models/m/m.onnx', signature, sample };
    const digest = await putTestImage(this.#layout, {
      // No other test's: it removes its own from Docker while another may be about to use the same.
      script: `${scoringScript}${script}\n// ${this.folder}`,
      node: process.execPath,
      service: { schemaVersion: 1, models: [model] },
    });
    return `${this.registry.host}/test@${digest}`;
  }

  /** Gives the layers of an image that was put into the registry. */
  async readManifest(image: string): Promise<{ readonly layers: readonly { readonly size: number }[] }> {
    const document = await this.#layout.readManifest('test', image.slice(image.indexOf('@') + 1));
    if (document?.kind !== 'manifest') throw new Error(`there is no image "${image}"`);
    return document.manifest;
  }

  /** Deploys modules to the device, and gives the version of its desired properties then. */
  async deploy(modules: Readonly<Record<string, ModuleToDeploy>>): Promise<number> {
    await this.request('POST', `/devices/${deviceId}/applyConfigurationContent`, edgeManifest({ modules }));
    return (await this.twin()).properties.desired.$version;
  }

  /** Sets the desired properties of the agent as they are. */
  async setDesired(desired: unknown): Promise<number> {
    const content = { modulesContent: { $edgeAgent: { 'properties.desired': desired } } };
    await this.request('POST', `/devices/${deviceId}/applyConfigurationContent`, content);
    return (await this.twin()).properties.desired.$version;
  }

  async twin(): Promise<AgentTwin> {
    return (await this.request('GET', `/twins/${deviceId}/modules/$edgeAgent`)) as AgentTwin;
  }

  /** Waits until the agent has reported a version of the desired properties with a code. */
  async reported(version: number, code: number, timeoutMs = 15_000): Promise<AgentTwin['properties']['reported']> {
    let last: unknown;
    try {
      return await until(
        async () => {
          const { reported } = (await this.twin()).properties;
          last = reported;
          return reported.lastDesiredVersion === version && reported.lastDesiredStatus?.code === code && reported;
        },
        { timeoutMs, what: `version ${version} reported with ${code}` },
      );
    } catch (error) {
      throw new Error(`reported is ${JSON.stringify(last)}`, { cause: error });
    }
  }

  /** Calls a direct method of the agent. */
  async callMethod(methodName: string, payload: unknown): Promise<{ status: number; payload: unknown }> {
    const body = { methodName, payload, responseTimeoutInSeconds: 30, connectTimeoutInSeconds: 5 };
    const path = `/twins/${deviceId}/modules/$edgeAgent/methods`;
    return (await this.request('POST', path, body)) as { status: number; payload: unknown };
  }

  /** Calls the hub's REST interface as its owner. */
  async request(method: string, path: string, body?: unknown): Promise<unknown> {
    const owner = parseServiceConnectionString(this.hub.connectionStrings.iothubowner);
    const sending = request({
      host: 'localhost',
      port: this.hub.port,
      method,
      path: `${path.replaceAll('$', '%24')}?api-version=2021-04-12`,
      headers: { authorization: signature(owner), 'content-type': 'application/json' },
      agent: false,
    });
    sending.end(body === undefined ? undefined : JSON.stringify(body));
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    sending.once('response', resolve);
    sending.once('error', reject);
    const answer = await promise;
    const said = await text(answer);
    if ((answer.statusCode ?? 0) >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${said}`);
    return said === '' ? undefined : JSON.parse(said);
  }

  /** Starts an agent in this process. */
  startAgent(changes: AgentChanges = {}): RunningAgent {
    const ending = new AbortController();
    const ended = runAgent(
      {
        device: parseDeviceConnectionString(changes.connectionString ?? this.connectionString),
        stateFolder: this.stateFolder,
        engine: changes.engine ?? 'process',
        keepModules: changes.keepModules ?? false,
        uploadEveryMs: changes.uploadEveryMs ?? 3_600_000,
        ...(changes.metricsAddress === undefined ? {} : { metricsAddress: changes.metricsAddress }),
        version: 'test',
        log: createLogger('agent', { level: (process.env['AGENT_LOG'] ?? 'silent') as 'silent', format: 'text' }),
      },
      ending.signal,
    );
    ended.catch(() => undefined);
    const stop = async (): Promise<void> => {
      ending.abort();
      await ended;
    };
    return { ended, stop, [Symbol.asyncDispose]: () => stop().catch(() => undefined) };
  }

  /** Ends everything, also modules that outlive their agent: those of one that was killed, or left them running. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#endModules();
    } finally {
      await this.#stack.disposeAsync();
    }
  }

  async #endModules(): Promise<void> {
    const log = createLogger('engine', { level: 'silent' });
    const folder = join(this.stateFolder, 'processes');
    if (!existsSync(folder)) return;
    await using engine = await ProcessEngine.open({ folder, layout: this.#layout, log });
    for (const { name } of await engine.list()) await engine.stop(name, { graceMs: 0 });
  }
}

/** A shared access signature of the hub's owner. */
function signature(owner: { hostName: string; sharedAccessKeyName: string; sharedAccessKey: string }): string {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const resource = encodeURIComponent(owner.hostName);
  const key = Buffer.from(owner.sharedAccessKey, 'base64');
  const hmac = createHmac('sha256', key).update(`${resource}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(hmac)}&skn=${owner.sharedAccessKeyName}&se=${expiry}`;
}
