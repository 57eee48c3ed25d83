import { expect, test } from 'vitest';
import { pushService } from '../../../cloud/deploy/push.ts';
import { listModels } from '../../../cloud/models/model.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

test('pushService() says everything that is wrong with the service before it registers the model', async () => {
  await using rig = await workspaceRig();
  const request = {
    name: 'digits',
    target: { kind: 'local' },
    models: [{ path: digitsFile, name: 'digits' }],
    settings: { numReplicas: 2, autoscaleMinReplicas: 1, balance: 'connections', engine: 'docker' },
    tags: { '': 'x' },
    keys: { primary: 'short' },
    isWhole: false,
  } as const;
  const pushed = pushService(rig.workspace, request, {
    replace: false,
    note: () => {},
    signal: AbortSignal.timeout(20_000),
  });
  await expect(pushed).rejects.toMatchObject({
    code: 'SERVICE_INVALID',
    message: expect.stringMatching(
      /^Cannot create the service "digits": .*both a number of replicas and scaling.*processes \(engine\) were wanted.*tag.*primary key/,
    ),
  });
  expect(listModels(rig.workspace.database, {})).toEqual([]);
});
