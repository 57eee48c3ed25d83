import { z } from 'zod';
import { allSettings } from './definitions.ts';

/** Settings as a file names them: a name that is none is refused here, values where all settings are checked, which names them better. */
export const settingsInFile = z.strictObject(
  Object.fromEntries(allSettings().map(([name]) => [name, z.unknown().optional()])),
);
