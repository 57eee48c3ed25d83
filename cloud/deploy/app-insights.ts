import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';

/**
 * Gives the connection string of the workspace's Application Insights: a secret.
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has none
 */
export async function appInsightsOf(workspace: Workspace): Promise<string> {
  const { appInsightsConnectionString } = await workspace.secrets();
  const found = process.env['APPLICATIONINSIGHTS_CONNECTION_STRING'] ?? appInsightsConnectionString;
  if (found !== undefined) return found;
  throw new FerryError('ENDPOINT_MISSING', 'Cannot send traces: the workspace has no Application Insights', {
    next: 'Give its connection string as APPLICATIONINSIGHTS_CONNECTION_STRING, or as appInsightsConnectionString in secrets.json of the workspace.',
  });
}
