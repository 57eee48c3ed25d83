import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** The variable that a connection string of Application Insights is given in, here and to scoring servers: a secret. */
export const appInsightsVariable = 'APPLICATIONINSIGHTS_CONNECTION_STRING';

/**
 * Gives the connection string of the workspace's Application Insights: a secret.
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has none
 */
export async function appInsightsOf(workspace: Workspace): Promise<string> {
  const { appInsightsConnectionString } = await workspace.secrets();
  const found = process.env[appInsightsVariable] ?? appInsightsConnectionString;
  if (found !== undefined) return found;
  throw new FerryError('ENDPOINT_MISSING', 'Cannot send traces: the workspace has no Application Insights', {
    next: `Give its connection string as ${appInsightsVariable}, or as appInsightsConnectionString in secrets.json of the workspace.`,
  });
}
