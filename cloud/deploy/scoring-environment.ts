import { defaultFiles } from '../../shared/collect/file-settings.ts';
import { settingDefinitions } from './settings/definitions.ts';
import type { DesiredService } from './deployer.ts';

/**
 * Gives the scoring server's environment as the settings ask for it, the same on every target. What is as it is by itself is not said, so
 * that a deployment does not change with what becomes possible. Files of keys and TLS, and where data is kept, are the target's to add.
 */
export function scoringEnvironment({
  name,
  scope,
  settings,
  acceleratorHost = '127.0.0.1',
}: Pick<DesiredService, 'name' | 'scope' | 'settings'> & {
  /** Where the accelerator's runtime is, if there is one. @default beside it, in the same network */
  readonly acceleratorHost?: string;
}): Record<string, string> {
  const { env, collect, collectFormat, collectFolder, scoringTimeoutMs } = settings;
  return {
    ...env,
    SERVICE_NAME: name,
    MODELFERRY_WORKSPACE: scope,
    ...(scoringTimeoutMs === settingDefinitions.scoringTimeoutMs.standard
      ? {}
      : { SCORING_TIMEOUT_MS: String(scoringTimeoutMs) }),
    ...acceleratorEnvironment(settings, acceleratorHost),
    ...(collect ? { AML_MODEL_DC_STORAGE_ENABLED: 'true' } : {}),
    ...(collectFormat === defaultFiles.format ? {} : { MODELFERRY_COLLECT_FORMAT: collectFormat }),
    ...(collectFolder === defaultFiles.folder ? {} : { AML_MODEL_DC_BOUNDARY: collectFolder }),
  };
}

function acceleratorEnvironment(settings: DesiredService['settings'], host: string): Record<string, string> {
  const { acceleratorImage, acceleratorPort, acceleratorModel, acceleratorShare } = settings;
  if (acceleratorImage === undefined) return {};
  return {
    MODELFERRY_ACCELERATOR_URL: `http://${host}:${acceleratorPort}`,
    ...(acceleratorModel === undefined ? {} : { MODELFERRY_ACCELERATOR_MODEL: acceleratorModel }),
    ...(acceleratorShare === undefined ? {} : { MODELFERRY_ACCELERATOR_SHARE_MIN: String(acceleratorShare) }),
  };
}
