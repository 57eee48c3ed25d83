/** How a fleet is simulated. */
export interface FleetOptions {
  /** Light devices. */
  readonly devices: number;
  readonly seed: number;
  /** Real agents beside them, as processes of this machine; none in virtual time. @default 0 */
  readonly realAgents?: number | undefined;
  /** Whether time is only counted, and the hub lives in it; else devices connect to a hub by MQTT. */
  readonly virtual: boolean;
  /** Whether links are slow and come and go where time is real; in virtual time they do. @default good ones */
  readonly slowLinks?: boolean | undefined;
  /** How long it takes by the fleet's clock, in milliseconds; a run in real time ends as soon as all devices are as deployed. */
  readonly durationMs: number;
  readonly deployments: number;
  /** Share of the devices with which something is wrong at any time, from 0 to 1. */
  readonly failingShare: number;
  /** A time at which the hub is out for as long, in milliseconds. @default never */
  readonly outage?: { readonly atMs: number; readonly forMs: number } | undefined;
  /** Units of tier S1 whose throttles hold. @default no throttles */
  readonly s1Units?: number | undefined;
}
