import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { openCertificates } from '../../../simulators/certificates.ts';
import { type Cluster, startCluster } from '../../../simulators/kubernetes/cluster.ts';
import { startRegistry } from '../../../simulators/registry/registry.ts';
import { putTestImage } from '../../shared/containers/test-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

/** A web server that says who it is, ends when it is told to, and does what its address says. */
const script = `
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
const { GREETING = 'hello', HOSTNAME, MODELFERRY_HOST, MODELFERRY_PORT } = process.env;
if (GREETING === 'broken') { console.error('cannot load the model: it is broken'); process.exit(3); }
const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/exit') process.exit(4);
  if (url.pathname === '/burn') { const end = Date.now() + 400; while (Date.now() < end); }
  if (url.pathname === '/file') return response.end(readFileSync(process.env[url.searchParams.get('of')], 'utf8'));
  if (url.pathname === '/env') return response.end(process.env[url.searchParams.get('of')] ?? '');
  if (url.pathname === '/ask') {
    return fetch('http://127.0.0.1:' + url.searchParams.get('port'))
      .then((answer) => answer.text())
      .then((text) => response.end(text), (error) => response.end(String(error.cause ?? error)));
  }
  response.setHeader('connection', 'close');
  response.end(GREETING + ' from ' + HOSTNAME);
});
process.on('SIGTERM', () => { console.log('told to end'); server.close(() => process.exit(0)); });
server.listen(Number(MODELFERRY_PORT ?? 5001), MODELFERRY_HOST, () => console.log(GREETING + ' is up'));
`;

/** What a run of `kubectl` gave. */
export interface KubectlRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Says whether this machine has `kubectl`, of a version that asks the server to check fields (1.27 and up). */
export async function kubectlVersion(): Promise<number> {
  const { stdout, code } = await run(['version', '--client', '-o', 'json'], {});
  if (code !== 0) return 0;
  const { clientVersion } = JSON.parse(stdout) as { clientVersion: { minor: string } };
  return Number.parseInt(clientVersion.minor, 10);
}

/** A cluster, a registry with one image, and `kubectl` for it. */
export class ClusterRig implements AsyncDisposable {
  readonly cluster: Cluster;
  /** The image, by digest. */
  readonly image: string;
  readonly #close: () => Promise<void>;

  private constructor(cluster: Cluster, image: string, close: () => Promise<void>) {
    this.cluster = cluster;
    this.image = image;
    this.#close = close;
  }

  static async open(engine: 'docker' | 'process' = 'process'): Promise<ClusterRig> {
    await using parts = new AsyncDisposableStack();
    const folder = parts.use(await temporaryFolder());
    // Processes run as another user, who has to get to their files.
    await chmod(folder.path, 0o755);
    const log = createLogger('test', { level: 'error' });
    const layoutDir = join(folder.path, 'layout');
    await mkdir(layoutDir);
    const digest = await putTestImage(await LayoutStore.open(layoutDir), { script, node: process.execPath });
    const registry = parts.use(await startRegistry({ layoutDir, port: 0, log }));
    const certificates = await openCertificates(join(folder.path, 'certificates'));
    const cluster = parts.use(
      await startCluster({
        folder: join(folder.path, 'cluster'),
        certificates,
        port: 0,
        engine,
        times: { backoffMs: 300 },
        autoscaleEveryMs: 500,
        log,
      }),
    );
    const running = parts.move();
    return new ClusterRig(cluster, `${registry.host}/test@${digest}`, () => running.disposeAsync());
  }

  /** Runs kubectl, and fails when it does. */
  async kubectl(args: readonly string[], input?: unknown): Promise<string> {
    const { code, stdout, stderr } = await this.try(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Runs kubectl, whatever comes of it. @param input objects for its standard input, written as YAML */
  async try(args: readonly string[], input?: unknown): Promise<KubectlRun> {
    const documents = input === undefined ? [] : Array.isArray(input) ? input : [input];
    return await run(args, {
      kubeconfig: this.cluster.kubeconfigFile,
      input: documents.map((document) => stringify(document)).join('---\n'),
    });
  }

  /** Reads one value with `-o jsonpath`. */
  async read(what: string, path: string): Promise<string> {
    return await this.kubectl(['get', ...what.split(' '), '-o', `jsonpath={${path}}`]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

async function run(args: readonly string[], { kubeconfig = '/nowhere', input = '' }): Promise<KubectlRun> {
  const { promise, resolve } = Promise.withResolvers<KubectlRun>();
  const env = { ...process.env, KUBECONFIG: kubeconfig, HOME: '/nowhere', KUBECACHEDIR: `${kubeconfig}.cache` };
  const child = execFile(
    'kubectl',
    [...args],
    { env, timeout: 60_000, maxBuffer: 2 ** 26 },
    (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ code, stdout, stderr });
    },
  );
  child.stdin?.end(input);
  // A program that is not there takes no input.
  child.stdin?.on('error', () => undefined);
  return await promise;
}

/** A deployment of the rig's image, as `kubectl create deployment` would not write it but an engineer does. */
export function webDeployment(
  rig: ClusterRig,
  of: { name: string; replicas?: number; greeting?: string; more?: object; pod?: object; container?: object },
): object {
  const { name, replicas = 1, greeting = 'hello' } = of;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      ...of.more,
      template: {
        metadata: { labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 5,
          ...of.pod,
          containers: [
            {
              name: 'web',
              image: rig.image,
              env: [{ name: 'GREETING', value: greeting }],
              ports: [{ name: 'http', containerPort: 5001 }],
              readinessProbe: { httpGet: { port: 'http' }, periodSeconds: 1 },
              terminationMessagePolicy: 'FallbackToLogsOnError',
              ...of.container,
            },
          ],
        },
      },
    },
  };
}

/** A service in front of it. */
export function webService(name: string, type = 'NodePort'): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type, selector: { app: name }, ports: [{ name: 'http', port: 8080, targetPort: 'http' }] },
  };
}
