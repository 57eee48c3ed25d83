import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../until.ts';
import { ClusterRig, kubectlVersion, webDeployment, webService } from './cluster-rig.ts';

const version = await kubectlVersion();
if (version < 27) console.warn('no kubectl 1.27 or later: the tests of the simulated Kubernetes with it are skipped');

// Programs start slowly on a busy machine, and every step starts one.
describe.skipIf(version < 27)('kubectl', { timeout: 120_000 }, () => {
  let rig: ClusterRig;

  beforeAll(async () => {
    rig = await ClusterRig.open();
  }, 60_000);
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
  });

  const port = (name: string): Promise<string> => rig.read(`service ${name}`, '.spec.ports[0].nodePort');
  const ask = async (name: string, path = '/'): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${await port(name)}${path}`);
    return await response.text();
  };

  test('apply, rollout status, get, describe, logs: a deployment runs and is read back', async () => {
    await rig.kubectl(['apply', '-f', '-'], [webDeployment(rig, { name: 'web', replicas: 2 }), webService('web')]);
    expect(await rig.kubectl(['rollout', 'status', 'deployment/web', '--timeout=100s'])).toContain(
      'successfully rolled out',
    );
    expect(await rig.kubectl(['get', 'deployments'])).toMatch(
      /NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\nweb\s+2\/2\s+2\s+2/,
    );
    expect(await rig.kubectl(['get', 'pods', '-l', 'app=web', '-o', 'wide'])).toMatch(
      /1\/1\s+Running\s+0\s+.*127\.1\.\d+\.\d+\s+node-1/,
    );
    expect(await rig.kubectl(['get', 'all'])).toContain('replicaset.apps/web-');
    const described = await rig.kubectl(['describe', 'deployment', 'web']);
    expect(described).toContain('2 desired | 2 updated | 2 total | 2 available | 0 unavailable');
    expect(described).toContain('NewReplicaSetAvailable');
    expect(described).toContain('ScalingReplicaSet');
    const pods = await rig.kubectl(['describe', 'pods', '-l', 'app=web']);
    expect(pods).toMatch(/Ready:\s+True/);
    expect(pods).toContain('Successfully assigned');
    expect(await rig.kubectl(['describe', 'service', 'web'])).toMatch(
      /Endpoints:\s+127\.1\.\d+\.\d+:5001,127\.1\.\d+\.\d+:5001/,
    );
    expect(await rig.kubectl(['logs', 'deployment/web'])).toBe('hello is up\n');
    expect(new Set([await ask('web'), await ask('web'), await ask('web')]).size).toBe(2);
  });

  test('a new template is rolled out without a failed request, and undone', async () => {
    await rig.kubectl(
      ['apply', '-f', '-'],
      [
        webDeployment(rig, {
          name: 'roll',
          replicas: 2,
          container: { lifecycle: { preStop: { sleep: { seconds: 1 } } } },
        }),
        webService('roll'),
      ],
    );
    await rig.kubectl(['rollout', 'status', 'deployment/roll', '--timeout=100s']);
    const at = `http://127.0.0.1:${await port('roll')}/`;
    const over = new AbortController();
    const answers = new Map<string, number>();
    const asking = (async () => {
      while (!over.signal.aborted) {
        const text = await fetch(at).then(
          async (response) => (await response.text()).split(' ')[0] ?? '',
          () => 'failed',
        );
        answers.set(text, (answers.get(text) ?? 0) + 1);
      }
    })();
    await rig.kubectl(['set', 'env', 'deployment/roll', 'GREETING=goodbye']);
    await rig.kubectl(['rollout', 'status', 'deployment/roll', '--timeout=100s']);
    over.abort();
    await asking;
    expect(answers.get('failed')).toBeUndefined();
    expect(await (await fetch(at)).text()).toContain('goodbye from roll-');
    expect(await rig.kubectl(['rollout', 'history', 'deployment/roll'])).toMatch(/1\s+<none>\n2\s+<none>/);
    await rig.kubectl(['rollout', 'undo', 'deployment/roll']);
    await rig.kubectl(['rollout', 'status', 'deployment/roll', '--timeout=100s']);
    expect(await (await fetch(at)).text()).toContain('hello from roll-');
    await rig.kubectl(['rollout', 'restart', 'deployment/roll']);
    await rig.kubectl(['rollout', 'status', 'deployment/roll', '--timeout=100s']);
    expect(await rig.read('deployment roll', '.metadata.annotations.deployment\\.kubernetes\\.io/revision')).toBe('4');
  });

  test('a template that does not start leaves what runs, and says why', async () => {
    const more = { progressDeadlineSeconds: 20 };
    await rig.kubectl(['apply', '-f', '-'], [webDeployment(rig, { name: 'bad', more }), webService('bad')]);
    await rig.kubectl(['rollout', 'status', 'deployment/bad', '--timeout=100s']);
    await rig.kubectl(['apply', '-f', '-'], webDeployment(rig, { name: 'bad', more, greeting: 'broken' }));
    const { code, stderr } = await rig.try(['rollout', 'status', 'deployment/bad', '--timeout=100s']);
    expect(code).toBe(1);
    expect(stderr).toContain('exceeded its progress deadline');
    expect(await ask('bad')).toContain('hello from bad-');
    expect(await rig.kubectl(['get', 'pods', '-l', 'app=bad'])).toMatch(/CrashLoopBackOff|Error/);
    const name = (
      await rig.kubectl([
        'get',
        'pods',
        '-l',
        'app=bad',
        '-o',
        'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\\n"}{end}',
      ])
    )
      .split('\n')
      .find((line) => !line.endsWith(' 0') && line !== '')
      ?.split(' ')[0];
    expect(await rig.kubectl(['logs', name ?? '', '--previous'])).toContain('cannot load the model: it is broken');
    expect(await rig.read(`pod ${name}`, '..lastState.terminated.message')).toContain(
      'cannot load the model: it is broken',
    );
  });

  test('an image that is not there is ErrImagePull', async () => {
    const image = rig.image.replace(/@.*/, `@sha256:${'0'.repeat(64)}`);
    await rig.kubectl(['apply', '-f', '-'], webDeployment(rig, { name: 'missing', container: { image } }));
    await until(
      async () => /ErrImagePull|ImagePullBackOff/.test(await rig.kubectl(['get', 'pods', '-l', 'app=missing'])),
      { timeoutMs: 30_000 },
    );
    expect(await rig.kubectl(['events', '--types=Warning'])).toContain('Failed to pull image');
  });

  test('server-side apply: fields have owners, conflicts are refused and forced', async () => {
    const map = (data: object): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'shared' }, data });
    await rig.kubectl(['apply', '--server-side', '--field-manager=one', '-f', '-'], map({ a: '1', b: '1' }));
    const { code, stderr } = await rig.try(
      ['apply', '--server-side', '--field-manager=two', '-f', '-'],
      map({ b: '2' }),
    );
    expect(code).toBe(1);
    expect(stderr).toContain('conflict with "one": .data.b');
    await rig.kubectl(
      ['apply', '--server-side', '--field-manager=two', '--force-conflicts', '-f', '-'],
      map({ b: '2' }),
    );
    await rig.kubectl(['apply', '--server-side', '--field-manager=one', '-f', '-'], map({}));
    expect(JSON.parse(await rig.kubectl(['get', 'configmap', 'shared', '-o', 'json']))).toMatchObject({
      data: { b: '2' },
    });
    expect(await rig.read('configmap shared', '.data')).toBe('{"b":"2"}');
    const fields = JSON.parse(
      await rig.kubectl(['get', 'configmap', 'shared', '-o', 'json', '--show-managed-fields']),
    ) as {
      metadata: { managedFields: unknown[] };
    };
    expect(fields.metadata.managedFields).toContainEqual(
      expect.objectContaining({ manager: 'two', operation: 'Apply', fieldsV1: { 'f:data': { 'f:b': {} } } }),
    );
  });

  test('server-side apply without replicas leaves them to whoever scales', async () => {
    const deployment = webDeployment(rig, { name: 'scaled' }) as { spec: { replicas?: number } };
    delete deployment.spec.replicas;
    await rig.kubectl(['apply', '--server-side', '-f', '-'], deployment);
    await rig.kubectl(['scale', 'deployment/scaled', '--replicas=3']);
    await rig.kubectl(['apply', '--server-side', '-f', '-'], deployment);
    expect(await rig.read('deployment scaled', '.spec.replicas')).toBe('3');
    await rig.kubectl(['rollout', 'status', 'deployment/scaled', '--timeout=100s']);
    await rig.kubectl(['delete', 'deployment', 'scaled', '--wait']);
    await until(async () => (await rig.kubectl(['get', 'pods', '-l', 'app=scaled', '-o', 'name'])) === '');
  });

  test('what a cluster refuses is refused: unknown fields, wrong types, values, changes', async () => {
    const refused = async (edit: (deployment: Record<string, unknown>) => object): Promise<string> => {
      const { code, stderr } = await rig.try(
        ['apply', '-f', '-'],
        edit(webDeployment(rig, { name: 'wrong' }) as Record<string, unknown>),
      );
      expect(code).toBe(1);
      return stderr;
    };
    const withSpec = (spec: object) => (deployment: Record<string, unknown>) => ({
      ...deployment,
      spec: { ...(deployment['spec'] as object), ...spec },
    });
    expect(await refused(withSpec({ replica: 2 }))).toContain('strict decoding error: unknown field "spec.replica"');
    expect(await refused(withSpec({ replicas: 'two' }))).toContain(
      'cannot unmarshal string into Go struct field Deployment.spec.replicas',
    );
    expect(await refused(withSpec({ replicas: -1 }))).toContain(
      'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    );
    expect(await refused(withSpec({ selector: { matchLabels: { app: 'other' } } }))).toContain(
      '`selector` does not match template `labels`',
    );
    expect(await refused((deployment) => ({ ...deployment, metadata: { name: 'Not_A_Name' } }))).toContain(
      'RFC 1123 subdomain',
    );
    const selector = { matchLabels: { app: 'web', more: 'x' } };
    const web = webDeployment(rig, { name: 'web', replicas: 2 }) as { spec: { template: { metadata: object } } };
    const moved = {
      ...web,
      spec: { ...web.spec, selector, template: { ...web.spec.template, metadata: { labels: selector.matchLabels } } },
    };
    expect((await rig.try(['apply', '-f', '-'], moved)).stderr).toContain('spec.selector: Invalid value');
    expect((await rig.try(['apply', '-f', '-'], moved)).stderr).toContain('field is immutable');
  });

  test('the restricted pod security standard is enforced where a namespace says so', async () => {
    await rig.kubectl(['create', 'namespace', 'strict']);
    await rig.kubectl(['label', 'namespace', 'strict', 'pod-security.kubernetes.io/enforce=restricted']);
    const { code, stderr } = await rig.try(['run', 'naked', '-n', 'strict', `--image=${rig.image}`]);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "naked" must set',
    );
    const container = {
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        runAsNonRoot: true,
        readOnlyRootFilesystem: true,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    };
    await rig.kubectl(['apply', '-n', 'strict', '-f', '-'], webDeployment(rig, { name: 'dressed', container }));
    await rig.kubectl(['rollout', 'status', '-n', 'strict', 'deployment/dressed', '--timeout=100s']);
    await rig.kubectl(['delete', 'namespace', 'strict', '--timeout=100s']);
    expect((await rig.try(['get', 'namespace', 'strict'])).stderr).toContain('namespaces "strict" not found');
  });

  test('quotas and limits: what does not fit is not made, and the deployment says so', async () => {
    await rig.kubectl(['create', 'namespace', 'small']);
    await rig.kubectl(['create', 'quota', 'few', '-n', 'small', '--hard=pods=1']);
    await rig.kubectl(['apply', '-n', 'small', '-f', '-'], webDeployment(rig, { name: 'two', replicas: 2 }));
    await until(async () =>
      (await rig.read('deployment two -n small', '.status.conditions')).includes('exceeded quota: few'),
    );
    expect(await rig.kubectl(['describe', 'quota', 'few', '-n', 'small'])).toMatch(/pods\s+1\s+1/);
    await rig.kubectl(['delete', 'namespace', 'small', '--timeout=100s']);
  });

  test('a pod that no node has room or the device for stays Pending, with the reason', async () => {
    const container = { resources: { limits: { 'xilinx.com/fpga-u250': 1 } } };
    await rig.kubectl(['apply', '-f', '-'], webDeployment(rig, { name: 'fpga', container }));
    await until(async () =>
      (await rig.kubectl(['describe', 'pods', '-l', 'app=fpga'])).includes(
        '0/1 nodes are available: 1 Insufficient xilinx.com/fpga-u250.',
      ),
    );
    const patch =
      '[{"op":"add","path":"/status/capacity/xilinx.com~1fpga-u250","value":"1"},{"op":"add","path":"/status/allocatable/xilinx.com~1fpga-u250","value":"1"}]';
    await rig.kubectl(['patch', 'node', 'node-1', '--subresource=status', '--type=json', '-p', patch]);
    await rig.kubectl(['rollout', 'status', 'deployment/fpga', '--timeout=100s']);
    expect(await rig.read('pods -l app=fpga', '.items[0].spec.nodeName')).toBe('node-1');
    await rig.kubectl(['delete', 'deployment', 'fpga']);
  });

  test('secrets and config maps come as variables and as files', async () => {
    await rig.kubectl([
      'create',
      'secret',
      'generic',
      'keys',
      '--from-literal=keys.json={"keys":["k"]}',
      '--from-literal=word=secret word',
    ]);
    const deployment = webDeployment(rig, {
      name: 'files',
      container: {
        env: [
          { name: 'WORD', valueFrom: { secretKeyRef: { name: 'keys', key: 'word' } } },
          { name: 'SAYING', value: 'it is $(WORD)' },
          { name: 'KEYS_FILE', value: '/etc/keys/keys.json' },
        ],
        volumeMounts: [{ name: 'keys', mountPath: '/etc/keys', readOnly: true }],
      },
    }) as { spec: { template: { spec: object } } };
    const { template } = deployment.spec;
    const spec = { ...template.spec, volumes: [{ name: 'keys', secret: { secretName: 'keys' } }] };
    await rig.kubectl(
      ['apply', '-f', '-'],
      [{ ...deployment, spec: { ...deployment.spec, template: { ...template, spec } } }, webService('files')],
    );
    await rig.kubectl(['rollout', 'status', 'deployment/files', '--timeout=100s']);
    expect(await ask('files', '/env?of=SAYING')).toBe('it is secret word');
    expect(await ask('files', '/file?of=KEYS_FILE')).toBe('{"keys":["k"]}');
  });

  test('pods find the services that were there before them by variables, unless they do not want to', async () => {
    await rig.kubectl(['apply', '-f', '-'], [webService('found')]);
    const deployments = [
      webDeployment(rig, { name: 'links', replicas: 1 }),
      webDeployment(rig, { name: 'none', replicas: 1, pod: { enableServiceLinks: false } }),
    ];
    await rig.kubectl(['apply', '-f', '-'], [...deployments, webService('links'), webService('none')]);
    for (const name of ['links', 'none'])
      await rig.kubectl(['rollout', 'status', `deployment/${name}`, '--timeout=100s']);
    const host = await rig.read('service found', '.spec.clusterIP');
    expect(await ask('links', '/env?of=FOUND_SERVICE_HOST')).toBe(host);
    expect(await ask('none', '/env?of=FOUND_SERVICE_HOST')).toBe('');
  });

  test('a container that ends is started again, and says how it ended', async () => {
    await rig.kubectl(['apply', '-f', '-'], [webDeployment(rig, { name: 'dies' }), webService('dies')]);
    await rig.kubectl(['rollout', 'status', 'deployment/dies', '--timeout=100s']);
    await ask('dies', '/exit').catch(() => undefined);
    await until(
      async () => (await rig.read('pods -l app=dies', '.items[0].status.containerStatuses[0].restartCount')) === '1',
    );
    await until(async () => (await ask('dies')).startsWith('hello'), { timeoutMs: 20_000 });
    expect(
      await rig.read('pods -l app=dies', '.items[0].status.containerStatuses[0].lastState.terminated.exitCode'),
    ).toBe('4');
  });

  test('wait, top, autoscale: a deployment under load grows and its metrics are seen', async () => {
    const container = { resources: { requests: { cpu: '100m' } } };
    await rig.kubectl(['apply', '-f', '-'], [webDeployment(rig, { name: 'busy', container }), webService('busy')]);
    await rig.kubectl(['wait', '--for=condition=Available', 'deployment/busy', '--timeout=100s']);
    await rig.kubectl(['autoscale', 'deployment', 'busy', '--min=1', '--max=3', '--cpu-percent=50']);
    const at = `http://127.0.0.1:${await port('busy')}/burn`;
    const over = new AbortController();
    const burning = (async () => {
      while (!over.signal.aborted)
        await fetch(at).then(
          (response) => response.text(),
          () => undefined,
        );
    })();
    await until(async () => Number(await rig.read('deployment busy', '.spec.replicas')) > 1, { timeoutMs: 60_000 });
    over.abort();
    await burning;
    expect(await rig.kubectl(['get', 'hpa', 'busy'])).toMatch(/Deployment\/busy\s+cpu: \d+%\/50%\s+1\s+3/);
    expect(await rig.kubectl(['top', 'pods'])).toMatch(/busy-\S+\s+\d+m\s+\d+Mi/);
    expect(await rig.kubectl(['describe', 'hpa', 'busy'])).toContain('SuccessfulRescale');
    await rig.kubectl(['delete', 'hpa', 'busy']);
  });

  test('deletion: foreground waits for what belongs to it, orphans stay', async () => {
    const container = { lifecycle: { preStop: { sleep: { seconds: 2 } } } };
    await rig.kubectl(['apply', '-f', '-'], webDeployment(rig, { name: 'kept', container }));
    await rig.kubectl(['rollout', 'status', 'deployment/kept', '--timeout=100s']);
    await rig.kubectl(['delete', 'deployment', 'kept', '--cascade=orphan']);
    const set = (await rig.kubectl(['get', 'rs', '-l', 'app=kept', '-o', 'name'])).trim();
    expect(set).toContain('replicaset.apps/kept-');
    // Its pod goes on until its containers have ended, and so does it.
    await rig.kubectl(['delete', set, '--cascade=foreground', '--wait=false']);
    await until(async () => (await rig.kubectl(['get', 'pods', '-l', 'app=kept'])).includes('Terminating'));
    expect((await rig.kubectl(['get', 'rs', '-l', 'app=kept', '-o', 'name'])).trim()).toBe(set);
    await rig.kubectl(['wait', set, '--for=delete', '--timeout=100s']);
    expect(await rig.kubectl(['get', 'pods', '-l', 'app=kept', '-o', 'name'])).toBe('');
  });

  test('lists come in pages, dry runs keep nothing, explain and auth can-i answer, exec is refused', async () => {
    await rig.kubectl(['create', 'configmap', 'page-1']);
    await rig.kubectl(['create', 'configmap', 'page-2']);
    expect(await rig.kubectl(['get', 'configmaps', '--chunk-size=1', '-o', 'name'])).toContain('configmap/page-2');
    expect(await rig.kubectl(['create', 'configmap', 'dry', '--dry-run=server', '-o', 'name'])).toBe('configmap/dry\n');
    expect((await rig.try(['get', 'configmap', 'dry'])).code).toBe(1);
    expect(await rig.kubectl(['explain', 'deployment.spec.replicas'])).toContain('Number of desired pods');
    expect(await rig.kubectl(['auth', 'can-i', 'create', 'pods'])).toBe('yes\n');
    expect(await rig.kubectl(['get', 'pods', '--field-selector=status.phase=Failed', '-o', 'name'])).toBe('');
    expect((await rig.try(['exec', 'deployment/web', '--', 'true'])).stderr).toContain('not simulated');
  });

  test('without the right token nobody gets in', async () => {
    expect((await rig.try(['get', 'pods', '--token=wrong'])).stderr).toMatch(/Unauthorized|logged in/);
  });
});
