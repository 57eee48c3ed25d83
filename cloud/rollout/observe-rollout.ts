import type { HubClient } from '../azure/hub-client.ts';
import { type DeviceReport, deviceReportOf } from '../deploy/iotedge/device-report.ts';
import { edgeServiceState } from '../deploy/iotedge/edge-state.ts';
import type { ServiceState } from '../deploy/service-state.ts';
import type { DeviceOutcome, Observation } from './gate.ts';
import type { RolloutRequest } from './rollout-request.ts';

/** How long a device may be Unhealthy before that is a failure, in milliseconds: its own agent may still bring it up. */
const unhealthyMsMax = 15_000;

/** Looks at a rollout's devices, and remembers between two looks since when one of them is Unhealthy. */
export class RolloutWatch {
  readonly #hub: HubClient;
  readonly #unhealthySinceMs = new Map<string, number>();

  constructor(hub: HubClient) {
    this.#hub = hub;
  }

  /** Asks the hub how the devices are that have been given the deployment, and what the custom metrics are. */
  async look(id: string, request: RolloutRequest, nowMs: number): Promise<Observation> {
    const reports = (await this.#hub.listTargetedEdgeAgents(id)).map(deviceReportOf);
    const metrics: Record<string, number> = {};
    for (const [name, { query }] of Object.entries(request.gate.metrics)) {
      metrics[name] = await this.#hub.countRows(query);
    }
    return { devices: reports.map((report) => this.#outcomeOf(id, request, report, nowMs)), metrics };
  }

  #outcomeOf(id: string, request: RolloutRequest, report: DeviceReport, nowMs: number): DeviceOutcome {
    const { service: name, reference: image } = request;
    const whole = { name, image, deploymentId: id, targetCondition: '', targetedCount: 1, reports: [report] };
    const { state, reason } = edgeServiceState(whole).devices[0] ?? { state: 'Transitioning' as const };
    const { deviceId, connected, modules, scoring } = report;
    if (state !== 'Unhealthy') this.#unhealthySinceMs.delete(deviceId);
    else if (!this.#unhealthySinceMs.has(deviceId)) this.#unhealthySinceMs.set(deviceId, nowMs);
    const unhealthyMs = nowMs - (this.#unhealthySinceMs.get(deviceId) ?? nowMs);
    const module = modules[name];
    const isOurs = module?.image === undefined || module.image === image;
    const figures = scoring[name];
    return {
      deviceId,
      outcome: outcomeIn(state, { connected, unhealthyMs }),
      restarts: isOurs ? (module?.restartCount ?? 0) : 0,
      ...(reason === undefined ? {} : { reason }),
      ...(figures === undefined || !isOurs ? {} : { scoring: figures }),
    };
  }
}

function outcomeIn(
  state: ServiceState,
  { connected, unhealthyMs }: { readonly connected: boolean; readonly unhealthyMs: number },
): DeviceOutcome['outcome'] {
  if (state === 'Healthy') return 'succeeded';
  if (state === 'Failed' || unhealthyMs >= unhealthyMsMax) return 'failed';
  return connected ? 'pending' : 'offline';
}
