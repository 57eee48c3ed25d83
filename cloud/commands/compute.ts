import { type Command, Option } from 'commander';
import { resolve } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { fields, table } from '../../shared/text-layout.ts';
import { addWork } from '../cli/session.ts';
import { listServices } from '../deploy/service-records.ts';
import { modelNameProblem } from '../../shared/model/name.ts';
import { type Compute, computeSchema } from '../workspace/config.ts';

interface AttachFlags {
  readonly kind: Compute['kind'];
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly cluster?: string;
  readonly resourceGroup?: string;
  readonly location?: string;
}

/** Adds the verbs of `ferry compute`. */
export function addComputeVerbs(noun: Command): void {
  const attach = noun
    .command('attach')
    .description('give a cluster or a resource group a name in this workspace: prod, for aks/prod')
    .argument('<name>', 'its name')
    .addOption(
      new Option('--kind <kind>', 'what it is').choices(['kubernetes', 'containerInstances']).default('kubernetes'),
    )
    .option('--namespace <name>', 'namespace that services go to (default: default)')
    .option('--kubeconfig <file>', 'kubeconfig file (default: that of KUBECONFIG, or ~/.kube/config)')
    .option('--context <name>', 'its context (default: the current one)')
    .option('--cluster <name>', 'an AKS cluster by name, in place of a kubeconfig')
    .option('--resource-group <name>', "its resource group (default: the workspace's)")
    .option('--location <region>', "Azure region (default: the resource group's)");
  addWork<AttachFlags>(attach, async (session, { kubeconfig, ...flags }, [name = '']) => {
    const workspace = await session.openWorkspace();
    const problem = modelNameProblem(name);
    if (problem !== undefined) throw new FerryError('NAME_INVALID', `Cannot attach the compute: ${problem}`);
    const given = { ...flags, ...(kubeconfig !== undefined && { kubeconfig: resolve(kubeconfig) }) };
    const read = computeSchema.safeParse(given);
    if (!read.success || (flags.cluster !== undefined && kubeconfig !== undefined)) {
      const found = read.error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
      throw new FerryError(
        'USAGE',
        `Cannot attach "${name}": ${found ?? 'it has a cluster and a kubeconfig, one of them was wanted'}`,
      );
    }
    await workspace.setComputes({ ...workspace.config.computes, [name]: read.data });
    return { json: { name, ...read.data }, text: fields({ compute: name, ...read.data }) };
  });

  addWork(noun.command('list').description('list the computes of the workspace'), async (session) => {
    const { config } = await session.openWorkspace();
    const computes = Object.entries(config.computes ?? {});
    return {
      json: computes.map(([name, compute]) => ({ name, ...compute })),
      text: table(
        ['compute', 'kind', 'what'],
        computes.map(([name, { kind, ...rest }]) => [
          name,
          kind,
          Object.entries(rest)
            .map(([key, value]) => `${key} ${value}`)
            .join(', '),
        ]),
      ),
    };
  });

  const detach = noun.command('detach').description('forget a compute that no service is on; it stays where it is');
  addWork(detach.argument('<name>', 'its name'), async (session, _flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const { [name]: found, ...others } = workspace.config.computes ?? {};
    if (found === undefined)
      throw new FerryError('USAGE', `Cannot detach "${name}": the workspace has no such compute`);
    const users = listServices(workspace.database).filter(({ target }) => target.compute === name);
    if (users.length > 0) {
      const names = users.map((user) => user.name).join(', ');
      throw new FerryError('IN_USE', `Cannot detach "${name}": the services ${names} are on it`);
    }
    await workspace.setComputes(others);
    return { json: { name, detached: true }, text: `Detached ${name}.` };
  });
}
