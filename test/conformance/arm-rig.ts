import { join } from 'node:path';
import { ClientSecretCredential } from '@azure/identity';
import { ContainerInstanceManagementClient, type ContainerGroup } from '@azure/arm-containerinstance';
import type { Digest } from '../../shared/digest.ts';
import { createLogger } from '../../shared/log.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { type Arm, type ArmOptions, startArm } from '../../simulators/arm/arm.ts';
import { openCertificates } from '../../simulators/certificates.ts';
import { startRegistry } from '../../simulators/registry/registry.ts';
import { putTestImage } from '../shared/containers/test-image.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** Resource Manager with a registry beside it, and the vendor's own client to it. */
export interface ArmRig extends AsyncDisposable {
  readonly arm: Arm;
  readonly credential: ClientSecretCredential;
  readonly containers: ContainerInstanceManagementClient;
  /** What every management client of the vendor takes to come here. */
  readonly clientOptions: { readonly endpoint: string };
  readonly folder: string;
  /** Puts an image into the registry that runs a shell script; gives its reference by digest. */
  image(script: string): Promise<string>;
  /** Calls Resource Manager by plain HTTP, signed in unless the headers say otherwise. */
  rest(method: string, path: string, options?: { body?: unknown; headers?: Record<string, string> }): Promise<Response>;
}

/** Says hello with its environment, and stays. */
export const stayingScript = `
trap 'echo told to end; exit 0' TERM
echo "hello $GREETING"
while true; do sleep 0.05; done
`;

const log = createLogger('test', { level: 'silent' });

/** Starts it all on free ports. */
export async function openArmRig(options: Partial<ArmOptions> = {}): Promise<ArmRig> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder()).path;
  const certificates = await openCertificates(join(folder, 'certificates'));
  trustAlso(certificates.caFile);
  const registry = cleanup.use(await startRegistry({ layoutDir: join(folder, 'layout'), port: 0, log }));
  const layout = await LayoutStore.open(join(folder, 'layout'));
  const arm = cleanup.use(
    await startArm({
      folder: join(folder, 'arm'),
      port: 0,
      certificates,
      engine: 'process',
      backOffMs: 50,
      log,
      ...options,
    }),
  );
  const credential = credentialOf(arm);
  const clientOptions = { endpoint: arm.endpoint };
  const done = cleanup.move();
  return {
    arm,
    credential,
    clientOptions,
    folder,
    containers: new ContainerInstanceManagementClient(credential, arm.subscriptionId, clientOptions),
    image: async (script) => {
      const digest: Digest = await putTestImage(layout, { script });
      return `${registry.host}/test@${digest}`;
    },
    rest: async (method, path, { body, headers } = {}) => {
      const { token } = await credential.getToken('https://management.azure.com/.default');
      return await fetch(`${arm.endpoint}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    },
    [Symbol.asyncDispose]: () => done.disposeAsync(),
  };
}

/** The vendor's credential for the application that the simulator has. */
export function credentialOf(arm: Arm, changes: { clientSecret?: string } = {}): ClientSecretCredential {
  return new ClientSecretCredential(arm.tenantId, arm.clientId, changes.clientSecret ?? arm.clientSecret, {
    authorityHost: arm.endpoint,
    disableInstanceDiscovery: true,
  });
}

/** A container group of one container, as a caller would give it. */
export function groupOf(image: string, changes: Partial<ContainerGroup> = {}): ContainerGroup {
  return {
    location: 'westeurope',
    osType: 'Linux',
    containers: [{ name: 'main', image, resources: { requests: { cpu: 0.5, memoryInGB: 0.5 } } }],
    ...changes,
  };
}
