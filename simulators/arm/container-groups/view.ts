import type { Container } from './container.ts';
import type { ContainerDefinition, InitContainerDefinition } from './definition.ts';
import type { ContainerGroup } from './group.ts';

/** What a reader of a container group is shown: never a secure value, a password, or a secret. */
export function viewOf(
  group: ContainerGroup,
  { id, tenantId, fqdn }: { readonly id: string; readonly tenantId: string; readonly fqdn: string | undefined },
): object {
  const { name, definition, ip, principalId } = group.kept;
  const { location, tags, zones, identity, properties } = definition;
  const { containers, initContainers, imageRegistryCredentials, volumes, ipAddress, ...rest } = properties;
  return {
    id,
    name,
    type: 'Microsoft.ContainerInstance/containerGroups',
    location,
    tags: tags ?? {},
    ...(zones == null ? {} : { zones }),
    ...(identity == null ? {} : { identity: identityView(identity, { tenantId, principalId }) }),
    properties: {
      ...rest,
      sku: rest.sku ?? 'Standard',
      restartPolicy: rest.restartPolicy ?? 'Always',
      provisioningState: group.provisioningState,
      containers: containers.map((container, index) => containerView(container, group.containers[index])),
      initContainers: (initContainers ?? []).map((container, index) =>
        containerView(container, group.initContainers[index]),
      ),
      ...(imageRegistryCredentials == null
        ? {}
        : { imageRegistryCredentials: imageRegistryCredentials.map(({ password: _secret, ...shown }) => shown) }),
      ...(volumes == null
        ? {}
        : { volumes: volumes.map(({ secret, ...shown }) => (secret == null ? shown : { ...shown, secret: {} })) }),
      ...(ipAddress == null ? {} : { ipAddress: { ...ipAddress, ip, ...(fqdn === undefined ? {} : { fqdn }) } }),
      instanceView: { events: failureEvents(group), state: group.state },
    },
  };
}

function containerView(
  { name, properties }: ContainerDefinition | InitContainerDefinition,
  container: Container | undefined,
): object {
  return {
    name,
    properties: {
      ...properties,
      environmentVariables: (properties.environmentVariables ?? []).map(({ secureValue: _secret, ...shown }) => shown),
      instanceView:
        container === undefined
          ? {}
          : {
              restartCount: container.restartCount,
              currentState: container.current,
              ...(container.previous === undefined ? {} : { previousState: container.previous }),
              events: container.events.all,
            },
    },
  };
}

function identityView(
  identity: NonNullable<ContainerGroup['kept']['definition']['identity']>,
  { tenantId, principalId }: { readonly tenantId: string; readonly principalId: string },
): object {
  const ofSystem = identity.type?.includes('SystemAssigned') === true ? { principalId, tenantId } : {};
  return { ...identity, ...ofSystem };
}

function failureEvents({ failure }: ContainerGroup): readonly object[] {
  if (failure === undefined) return [];
  return [{ count: 1, name: 'Failed', message: failure, type: 'Warning' }];
}
