import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { parseCarriedModules } from './iotedge/carried-modules.ts';
import { readSecrets, type ServiceSecrets } from './service-keys.ts';
import type { GivenSettings, SettingName } from './settings/definitions.ts';

/** Content of the files that settings name: a service keeps it, so that they need not be there for its next update. */
export type ServiceFiles = Pick<ServiceSecrets, 'tls' | 'modules'>;

/**
 * Reads the files that settings name.
 * @throws {FerryError} FILE_NOT_FOUND, and SERVICE_INVALID when one is not what was wanted
 */
export async function readServiceFiles(settings: GivenSettings): Promise<ServiceFiles> {
  const { tlsCertificateFile: certificate, tlsKeyFile: key, modulesFile } = settings;
  const tls = certificate === undefined || key === undefined ? undefined : await readTls({ certificate, key });
  const modules = modulesFile === undefined ? undefined : await readModules(modulesFile);
  return { ...(tls && { tls }), ...(modules !== undefined && { modules }) };
}

/** Names the settings whose files are not what a service has of them. @throws {FerryError} as {@link readServiceFiles} */
export async function changedFiles(
  workspace: Workspace,
  service: string,
  settings: GivenSettings,
): Promise<SettingName[]> {
  const [now, before] = [await readServiceFiles(settings), await readSecrets(workspace, service)];
  const changed: [SettingName, boolean][] = [
    ['tlsCertificateFile', now.tls !== undefined && !isDeepStrictEqual(now.tls, before?.tls)],
    ['modulesFile', now.modules !== undefined && now.modules !== before?.modules],
  ];
  return changed.filter(([, isChanged]) => isChanged).map(([name]) => name);
}

async function readModules(path: string): Promise<string> {
  const text = await readText(path, 'an IoT Edge deployment manifest');
  parseCarriedModules(path, text);
  return text;
}

async function readTls(files: { readonly certificate: string; readonly key: string }): Promise<ServiceSecrets['tls']> {
  const certificate = await readText(files.certificate, 'a PEM file');
  const key = await readText(files.key, 'a PEM file');
  const { createSecureContext } = await import('node:tls');
  try {
    createSecureContext({ cert: certificate, key });
  } catch {
    throw new FerryError(
      'SERVICE_INVALID',
      `Cannot use "${files.certificate}" with "${files.key}": they do not belong together, a certificate and its key as PEM were wanted`,
    );
  }
  return { certificate, key };
}

async function readText(path: string, wanted: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FerryError('FILE_NOT_FOUND', `Cannot read "${path}": ${wanted} was wanted`, { cause });
  });
}
