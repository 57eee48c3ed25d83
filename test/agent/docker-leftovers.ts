import Docker from 'dockerode';
import { resetAgent } from '../../agent/reset.ts';
import { createLogger } from '../../shared/log.ts';
import type { Rig } from './rig.ts';

/** Takes everything of an ended agent out of Docker: its containers, and the images that it was ever given. */
export async function removeFromDocker(rig: Rig, images: readonly string[]): Promise<void> {
  await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
  await removeDockerImages(images);
}

/** Removes images from Docker as an agent names them there; what is not there is gone. The agent itself removes them only after days. */
export async function removeDockerImages(images: readonly string[]): Promise<void> {
  for (const image of images) {
    const digest = image.slice(image.indexOf('@') + 1);
    await new Docker()
      .getImage(`modelferry.local/image:${digest.replace(':', '-')}`)
      .remove()
      .catch((error: unknown) => {
        if (!(error instanceof Error && 'statusCode' in error && error.statusCode === 404)) throw error;
      });
  }
}
