import { fields } from '../../shared/text-layout.ts';
import { type CommandResult, pairsText } from '../cli/result.ts';
import type { ServiceRecord } from '../deploy/service-records.ts';
import { describeState, type ServiceStatus } from '../deploy/service-state.ts';
import { allSettings } from '../deploy/settings/definitions.ts';
import { targetText } from '../deploy/target.ts';

/** Gives a service as a document for programs. */
export function serviceDocument(record: ServiceRecord, seen: ServiceStatus) {
  const { name, target, image, deployment, description, tags, properties, createdAt, updatedAt } = record;
  return {
    name,
    target: targetText(target),
    image: `${image.name}:${image.version}`,
    imageDigest: image.digest,
    state: seen.state,
    ...(seen.reason === undefined ? {} : { reason: seen.reason }),
    ...(seen.address === undefined ? {} : addressesOf(seen.address)),
    instances: seen.instances.map(({ details, ...instance }) => ({ ...instance, ...details })),
    settings: settingsOf(record),
    deployment,
    description,
    tags,
    properties,
    createdAt,
    updatedAt,
  };
}

/** Describes a service as a command's result. */
export function describeService(record: ServiceRecord, seen: ServiceStatus): CommandResult {
  const { name, target, image, description, tags, properties, createdAt, updatedAt } = record;
  const { settings } = record;
  return {
    json: serviceDocument(record, seen),
    text: fields({
      service: name,
      state: describeState(seen),
      target: targetText(target),
      image: `${image.name}:${image.version}`,
      'image digest': image.digest,
      address: seen.address,
      callers: settings.tokenAuthEnabled ? 'with a token' : settings.authEnabled ? 'with a key' : 'anybody',
      collection: settings.collect
        ? `on, ${settings.collectFormat}, a folder ${settings.collectFolder === 'day' ? 'a day' : 'an hour'}`
        : 'off',
      settings: givenText(record) || undefined,
      description: description || undefined,
      tags: pairsText(tags) || undefined,
      properties: pairsText(properties) || undefined,
      created: createdAt,
      updated: updatedAt === createdAt ? undefined : updatedAt,
      on: seen.instances.map((instance) => `${instance.name}: ${describeState(instance)}`).join('\n') || undefined,
    }),
  };
}

function addressesOf(address: string): {
  readonly scoringAddress: string;
  readonly scoringUri: string;
  readonly swaggerUri: string;
} {
  const base = address.replace(/\/$/, '');
  return { scoringAddress: base, scoringUri: `${base}/score`, swaggerUri: `${base}/swagger.json` };
}

/** What the target takes, and no more. */
function settingsOf({ target, settings }: ServiceRecord): Record<string, unknown> {
  const taken = allSettings().filter(([, { targets }]) => targets.includes(target.kind));
  return Object.fromEntries(taken.flatMap(([name]) => (settings[name] === undefined ? [] : [[name, settings[name]]])));
}

function givenText({ given }: ServiceRecord): string {
  return Object.entries(given)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? pairsText(value) || 'none' : String(value)}`)
    .join('\n');
}
