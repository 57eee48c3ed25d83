import { pairsSchema } from '../../workspace/rows.ts';
import { optional } from './definition.ts';

/**
 * Versions of one service, each of which gets a share of its requests, or copies of them: what Azure ML v1's `AksEndpoint` had as versions with a
 * `traffic_percentile`, and its successor as deployments with `mirror-traffic`.
 */
export const trafficSettings = {
  versions: optional({
    schema: pairsSchema,
    label: 'versions',
    wanted: 'images by name',
    targets: ['aks'],
    argument: '<key=value>',
    text: 'a version of the service beside its own, which is called default, as NAME=IMAGE:VERSION, 5 at most; "NAME=" removes it',
    flag: 'version-image',
  }),
  traffic: optional({
    schema: pairsSchema,
    label: 'shares of traffic',
    wanted: 'percents by version',
    targets: ['aks'],
    argument: '<key=value>',
    text: "percent of the requests that a version answers, as NAME=PERCENT; the rest is the default version's",
  }),
  mirror: optional({
    schema: pairsSchema,
    label: 'shares of copies',
    wanted: 'percents by version',
    targets: ['aks'],
    argument: '<key=value>',
    text: 'percent of the requests that others answer, of which a version gets a copy, as NAME=PERCENT; nobody waits for its answers',
  }),
};
