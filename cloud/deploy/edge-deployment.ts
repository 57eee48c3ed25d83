import { defaultFiles } from '../../shared/collect/file-settings.ts';
import { edgeManifest } from '../../shared/edge/build-manifest.ts';
import { digestOf } from '../../shared/digest.ts';
import type { NewDeployment } from '../azure/hub-client.ts';
import type { EdgeServiceSettings } from './service-settings.ts';

/** The port that the scoring server listens on in its container, Azure ML's. */
const scoringPort = '5001/tcp';
/** How much of the content's digest stands in a deployment's id. */
const idDigits = 12;
const megabyte = 1_048_576;

/** What a deployment is made of. */
export interface EdgeDeploymentParts {
  /** Name of the service and of its module. */
  readonly name: string;
  /** `<registry>/<name>@sha256:…` */
  readonly image: string;
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly settings: EdgeServiceSettings;
}

/**
 * Writes the IoT Edge deployment of a service. The same parts give the same deployment with the same id, so that one which is in
 * the hub already is known again.
 * @throws {FerryError} DEPLOYMENT_INVALID when IoT Edge's schema refuses it
 */
export function edgeDeployment({ name, image, scope, settings }: EdgeDeploymentParts): NewDeployment {
  const { targetCondition, priority, port, hostAddress, env, memoryMb } = settings;
  const content = edgeManifest({
    modules: {
      [name]: {
        image,
        createOptions: {
          ExposedPorts: { [scoringPort]: {} },
          HostConfig: {
            PortBindings: { [scoringPort]: [{ HostIp: hostAddress, HostPort: String(port) }] },
            ...(memoryMb === undefined ? {} : { Memory: memoryMb * megabyte }),
          },
        },
        env: {
          ...env,
          SERVICE_NAME: name,
          MODELFERRY_WORKSPACE: scope,
          ...collectVariables(settings),
        },
      },
    },
  });
  const digest = digestOf(JSON.stringify({ content, targetCondition, priority, scope }));
  return {
    id: `${name}-${digest.slice('sha256:'.length, 'sha256:'.length + idDigits)}`,
    content,
    targetCondition,
    priority,
    labels: { createdBy: 'modelferry', service: name, workspace: scope },
  };
}

/** What is as it is by itself is not said, so that a deployment does not change with what becomes possible. */
function collectVariables({ collect, collectFiles }: EdgeServiceSettings): Record<string, string> {
  const { format, folder } = collectFiles;
  return {
    ...(collect ? { AML_MODEL_DC_STORAGE_ENABLED: 'true' } : {}),
    ...(format === defaultFiles.format ? {} : { MODELFERRY_COLLECT_FORMAT: format }),
    ...(folder === defaultFiles.folder ? {} : { AML_MODEL_DC_BOUNDARY: folder }),
  };
}
