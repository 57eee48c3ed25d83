import { FerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { parseReference } from '../../shared/oci/reference.ts';
import { findImage } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { findPublishedImage } from './published-image.ts';

/**
 * Finds the image of an accelerator's runtime: one of the workspace, by its digest in the registry, or one of any registry as it is named.
 * @throws {FerryError} SERVICE_INVALID when it is neither
 * @throws {FerryError} IMAGE_NOT_FOUND, ENDPOINT_MISSING, REGISTRY_UNREACHABLE, REGISTRY_REFUSED
 */
export async function findAcceleratorImage(workspace: Workspace, text: string, signal: AbortSignal): Promise<string> {
  // An image of the workspace has no slash in its name.
  if (!text.includes('/')) {
    return await findPublishedImage(workspace, findImage(workspace.database, parseVersionedName(text)), signal);
  }
  try {
    parseReference(text);
    return text;
  } catch (cause) {
    throw new FerryError('SERVICE_INVALID', `Cannot use the accelerator runtime "${text}": it names no image`, {
      cause,
    });
  }
}
