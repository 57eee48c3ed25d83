import { isIP } from 'node:net';
import { z } from 'zod';
import { pairsSchema } from '../../workspace/rows.ts';
import { kubernetes, memoryMbMin, optional, standard, text, yesNo } from './definition.ts';

/** Where a service is: one target each, or few. */
export const placeSettings = {
  namespace: optional({
    schema: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
    label: 'namespace',
    wanted: '1 to 63 lower-case letters, digits and "-"',
    targets: kubernetes,
    argument: '<name>',
    text: "namespace of the cluster (default: the compute's)",
    v1: 'namespace',
  }),
  location: optional({
    schema: text,
    label: 'location',
    wanted: 'the name of a region',
    targets: ['aci'],
    argument: '<region>',
    text: "Azure region (default: the resource group's)",
    v1: 'location',
  }),
  dnsNameLabel: optional({
    schema: z.string().regex(/^[a-z]([-a-z0-9]{3,61})[a-z0-9]$/),
    label: 'DNS label',
    wanted: '5 to 63 lower-case letters, digits and "-", a letter first',
    targets: ['aci'],
    argument: '<label>',
    text: 'first part of its name on the internet (default: made of its own)',
    v1: 'dnsNameLabel',
  }),
  port: optional({
    schema: z.int().min(1).max(65_535),
    label: 'port',
    wanted: '1 to 65535',
    targets: ['local', 'aci', 'iotedge'],
    argument: '<port>',
    text: 'port that it answers on (default: 5001, on local a free one)',
    v1: 'port',
  }),
  managedIdentity: optional({
    schema: z
      .string()
      .regex(
        /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.ManagedIdentity\/userAssignedIdentities\/[^/]+$/i,
      ),
    label: 'managed identity',
    wanted: 'the resource id of a user-assigned identity',
    targets: ['aci'],
    argument: '<id>',
    text: 'user-assigned identity that it runs as, and that pulls its image',
  }),
  hostAddress: standard({
    schema: z.string().refine((address) => isIP(address) > 0),
    label: 'host address',
    wanted: 'an IP address',
    targets: ['local', 'iotedge'],
    standard: '127.0.0.1',
    argument: '<ip>',
    text: 'address that the port is bound to; 0.0.0.0 for all (default: 127.0.0.1)',
  }),
  engine: optional({
    schema: z.enum(['docker', 'process']),
    label: 'engine',
    wanted: 'one of docker, process',
    targets: ['local'],
    argument: '<engine>',
    text: 'what replicas are on this machine: docker or process (default: process on Linux, else docker)',
  }),
  deviceTags: optional({
    schema: pairsSchema,
    label: 'device tags',
    wanted: 'texts by name',
    targets: ['iotedge'],
    argument: '<key=value>',
    text: 'a tag that devices must have, may be given several times',
    flag: 'device-tag',
  }),
  targetCondition: optional({
    schema: z.string(),
    label: 'target condition',
    wanted: 'a condition',
    targets: ['iotedge'],
    argument: '<condition>',
    text: "the condition in the hub's own words, instead of tags; * for all devices",
  }),
  modulesFile: optional({
    schema: text,
    label: 'manifest of other modules',
    wanted: 'a file',
    targets: ['iotedge'],
    argument: '<file>',
    text: 'IoT Edge deployment manifest (JSON, schema 1.0 or 1.1) whose modules and routes come with the service; "" for none any more',
    flag: 'modules',
  }),
  layered: standard({
    schema: yesNo,
    label: 'layering',
    wanted: 'true or false',
    targets: ['iotedge'],
    standard: false,
    text: 'lay it over the deployment that devices have, so that they run it beside what they run',
  }),
  priority: optional({
    schema: z.int().min(0),
    label: 'priority',
    wanted: 'a whole number from 0',
    targets: ['iotedge'],
    argument: '<number>',
    text: 'the deployment of the highest priority wins on a device, and a layer lies over those below (default: 10, of a layer 20)',
  }),
  memoryMb: optional({
    schema: z.int().min(memoryMbMin),
    label: 'memory',
    wanted: `${memoryMbMin} MB at least`,
    targets: ['iotedge'],
    argument: '<number>',
    text: 'most memory that the module may use, in MB (default: no limit)',
  }),
};
