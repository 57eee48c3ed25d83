import { join } from 'node:path';

/** Name of the agent's systemd unit. */
export const unitName = 'modelferry-agent.service';

/** Where the parts of an installed agent are. */
export interface InstalledFiles {
  /** Folder of the agent's settings. */
  readonly configFolder: string;
  readonly config: string;
  readonly ca: string;
  readonly certificate: string;
  readonly certificateKey: string;
  readonly unit: string;
}

/** Names the files of an installed agent. @param root what `/` will be: `/`, or the folder of an image that is being built */
export function installedFiles(root: string): InstalledFiles {
  const configFolder = join(root, 'etc/modelferry');
  return {
    configFolder,
    config: join(configFolder, 'agent.yaml'),
    ca: join(configFolder, 'ca.pem'),
    certificate: join(configFolder, 'device.pem'),
    certificateKey: join(configFolder, 'device.key.pem'),
    unit: join(root, 'etc/systemd/system', unitName),
  };
}
