import Docker from 'dockerode';

/** Whether a Docker engine answers here; tests that need one skip, and say so, where none does. */
export const dockerAnswers: boolean = await new Docker()
  .ping()
  .then(() => true)
  .catch(() => false);
