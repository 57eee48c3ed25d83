import { z } from 'zod';
import type { TargetKind } from '../target.ts';
import { count, kubernetes, optional, standard, text, yesNo } from './definition.ts';

/** Where an accelerator may stand beside the scoring server. */
const accelerated: readonly TargetKind[] = ['fpga', 'iotedge'];

/** A qualified name of Kubernetes: a domain, a slash, and up to 63 characters. */
const resourceName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const toleration = /^[^:\s]*:(NoSchedule|PreferNoSchedule|NoExecute)$/;
/** Paths of devices, as `/dev/dri/renderD128`, by comma. */
const devices = /^\/dev\/[^\s,:]+(,\/dev\/[^\s,:]+)*$/;

/** The accelerator that a service's model runs on: its runtime, its devices, and the nodes that have them. */
export const acceleratorSettings = {
  acceleratorImage: optional({
    schema: text,
    label: 'image of the accelerator runtime',
    wanted: 'an image',
    targets: accelerated,
    argument: '<image>',
    text: "container that runs the model on the accelerator and speaks the Open Inference Protocol: an image of the workspace (NAME or NAME:VERSION), or a registry's (HOST/NAME@DIGEST)",
  }),
  acceleratorPort: standard({
    schema: z.int().min(1).max(65_535),
    label: 'port of the accelerator runtime',
    wanted: '1 to 65535',
    targets: accelerated,
    standard: 8500,
    argument: '<port>',
    text: 'port that the runtime answers on (default: 8500)',
  }),
  acceleratorModel: optional({
    schema: text,
    label: 'model of the accelerator runtime',
    wanted: 'a name',
    targets: accelerated,
    argument: '<name>',
    text: "what the runtime calls the model (default: the model's name)",
  }),
  acceleratorShare: optional({
    schema: z.number().min(0).max(1),
    label: 'share that runs on the accelerator',
    wanted: '0 to 1',
    targets: accelerated,
    argument: '<share>',
    text: "least share of the model's nodes that has to run on the accelerator for the service to be ready, 0 to 1 (default: it is told, and does not matter)",
  }),
  acceleratorEnv: optional({
    schema: z.record(z.string().regex(/^[^=\s]+$/), z.string()),
    label: 'environment of the accelerator runtime',
    wanted: 'texts by name',
    targets: accelerated,
    argument: '<key=value>',
    text: 'a variable of the runtime, as XLNX_VART_FIRMWARE; may be given several times',
  }),
  acceleratorResource: optional({
    schema: z.string().regex(resourceName),
    label: 'device resource',
    wanted: 'a name with a domain, as "amd.com/xilinx_u250_gen3x16_xdma_shell_2_1-0",',
    targets: ['fpga'],
    argument: '<name>',
    text: 'resource that a node offers its devices under, which depends on what is installed there: kubectl get node -o json, under allocatable (default: none is asked for)',
  }),
  acceleratorCount: standard({
    schema: count,
    label: 'number of devices',
    wanted: '1 at least',
    targets: ['fpga'],
    standard: 1,
    argument: '<number>',
    text: 'devices of each replica (default: 1)',
  }),
  acceleratorDevices: optional({
    schema: z.string().regex(devices),
    label: 'devices',
    wanted: 'paths below /dev, by comma,',
    targets: ['iotedge'],
    argument: '<paths>',
    text: "the device's files that the runtime gets, as /dev/dri/renderD128, by comma",
  }),
  nodeSelector: optional({
    schema: z.record(z.string().min(1), z.string()),
    label: 'node selector',
    wanted: 'texts by label',
    targets: kubernetes,
    argument: '<key=value>',
    text: 'a label that nodes must have, may be given several times',
  }),
  tolerations: optional({
    schema: z.record(z.string().min(1), z.string().regex(toleration)),
    label: 'tolerations',
    wanted: 'VALUE:EFFECT by key, the effect one of NoSchedule, PreferNoSchedule, NoExecute,',
    targets: kubernetes,
    argument: '<key=value>',
    text: 'a taint of nodes that it stands, as sku=fpga:NoSchedule; without a value any (sku=:NoSchedule); may be given several times',
    flag: 'toleration',
  }),
  updateInPlace: standard({
    schema: yesNo,
    label: 'updating in place',
    wanted: 'true or false',
    targets: ['fpga'],
    standard: false,
    text: 'end a replica before its successor starts: where no device is free for it; where it is the only one, nobody answers meanwhile',
  }),
};
