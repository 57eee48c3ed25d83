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
}: Pick<DesiredService, 'name' | 'scope' | 'settings'>): Record<string, string> {
  const { env, collect, collectFormat, collectFolder, scoringTimeoutMs } = settings;
  return {
    ...env,
    SERVICE_NAME: name,
    MODELFERRY_WORKSPACE: scope,
    ...(scoringTimeoutMs === settingDefinitions.scoringTimeoutMs.standard
      ? {}
      : { SCORING_TIMEOUT_MS: String(scoringTimeoutMs) }),
    ...(collect ? { AML_MODEL_DC_STORAGE_ENABLED: 'true' } : {}),
    ...(collectFormat === defaultFiles.format ? {} : { MODELFERRY_COLLECT_FORMAT: collectFormat }),
    ...(collectFolder === defaultFiles.folder ? {} : { AML_MODEL_DC_BOUNDARY: collectFolder }),
  };
}
