import { type StateReport, worstOf } from '../service-state.ts';
import type { DeviceReport, ModuleReport } from './device-report.ts';

/** The state of a service on one device. */
export interface DeviceState extends StateReport {
  readonly deviceId: string;
  readonly connected: boolean;
  readonly module?: ModuleReport;
}

/** What is known of a service on IoT Edge. */
export interface EdgeObservation {
  /** Name of the service and of its module. */
  readonly name: string;
  /** Image reference in the manifest. */
  readonly image: string;
  /** Names of the modules that come with it. @default none */
  readonly carried?: readonly string[];
  readonly deploymentId: string;
  readonly targetCondition: string;
  /** The hub's count of devices that the condition holds for; undefined when the deployment is not in the hub. */
  readonly targetedCount: number | undefined;
  /** Of the devices that the hub has put the deployment's name on. */
  readonly reports: readonly DeviceReport[];
}

/** The state of a service on IoT Edge and on each of its devices. */
export interface EdgeServiceState extends StateReport {
  readonly devices: readonly DeviceState[];
}

/**
 * Computes the state of a service on IoT Edge: that of the device which is worst off, with the reason that this device gives.
 * A device that was Healthy and is off line now stays Healthy: that is what edge devices are for.
 */
export function edgeServiceState(observation: EdgeObservation): EdgeServiceState {
  const { deploymentId, targetCondition, targetedCount, reports } = observation;
  if (targetedCount === undefined) {
    return { state: 'Failed', reason: `the hub has no deployment "${deploymentId}"`, devices: [] };
  }
  const devices = reports.map((report) => deviceState(observation, report));
  const worst = worstOf(devices);
  if (worst !== undefined) {
    const reason = worst.reason === undefined ? {} : { reason: `${worst.deviceId}: ${worst.reason}` };
    return { state: worst.state, ...reason, devices };
  }
  if (targetedCount > reports.length) {
    const left = targetedCount - reports.length;
    return {
      state: 'Transitioning',
      reason: `the hub has yet to give it to ${left} of ${targetedCount} devices`,
      devices,
    };
  }
  if (reports.length === 0) {
    return { state: 'Transitioning', reason: `the condition "${targetCondition}" holds for no device`, devices };
  }
  return { state: 'Healthy', devices };
}

function deviceState(observation: EdgeObservation, report: DeviceReport): DeviceState {
  const { deviceId, connected } = report;
  const module = report.modules[observation.name];
  const { state, reason } = stateOn(observation, report, module);
  return {
    deviceId,
    connected,
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(module === undefined ? {} : { module }),
  };
}

function stateOn(
  { name, image, deploymentId, carried = [] }: EdgeObservation,
  report: DeviceReport,
  module: ModuleReport | undefined,
): StateReport {
  if (report.deployments[deploymentId] !== 'Applied') return displaced(deploymentId, report);
  if (report.attemptedVersion !== report.desiredVersion) {
    const where = report.connected
      ? 'it is taking the deployment'
      : 'it is not connected and has yet to take the deployment';
    return { state: 'Transitioning', reason: where };
  }
  const ours = module !== undefined && (module.image === undefined || module.image === image) ? module : undefined;
  // The module's own words say more than the agent's about it.
  if (ours !== undefined && ours.runtimeStatus === 'failed')
    return { state: 'Failed', reason: moduleReason(name, ours) };
  const refused = refusal(report);
  if (refused !== undefined) return refused;
  if (ours === undefined) return { state: 'Transitioning', reason: `the module "${name}" is not there yet` };
  if (ours.runtimeStatus !== 'running') return { state: 'Unhealthy', reason: moduleReason(name, ours) };
  return worstOf(carried.map((other) => carriedState(other, report.modules[other]))) ?? { state: 'Healthy' };
}

/** One that has done its work is stopped, and as it should be. */
function carriedState(name: string, module: ModuleReport | undefined): StateReport {
  if (module === undefined) return { state: 'Transitioning', reason: `the module "${name}" is not there yet` };
  if (['running', 'stopped'].includes(module.runtimeStatus)) return { state: 'Healthy' };
  return { state: module.runtimeStatus === 'failed' ? 'Failed' : 'Unhealthy', reason: moduleReason(name, module) };
}

/** The deployment means the device and another one, of a higher priority or newer, is what the device has. */
function displaced(deploymentId: string, { deployments }: DeviceReport): StateReport {
  const applied = Object.entries(deployments).find(([id, status]) => id !== deploymentId && status === 'Applied');
  if (applied === undefined) return { state: 'Transitioning', reason: 'the hub has yet to apply the deployment' };
  return { state: 'Failed', reason: `the deployment "${applied[0]}" goes before "${deploymentId}" there` };
}

function refusal({ outcome }: DeviceReport): StateReport | undefined {
  if (outcome === undefined || outcome.code === 200) return undefined;
  const reason = `its agent reports ${outcome.code}${outcome.description === '' ? '' : `: ${outcome.description}`}`;
  if (outcome.code === 406) return { state: 'Unhealthy', reason };
  // Microsoft's agent calls a long pull a failure until it is done.
  if (outcome.code === 500 && outcome.description.includes('operation was canceled')) {
    return { state: 'Transitioning', reason };
  }
  return { state: 'Failed', reason };
}

function moduleReason(name: string, module: ModuleReport): string {
  const { runtimeStatus, statusDescription, exitCode, restartCount } = module;
  const exit = exitCode === undefined || exitCode === 0 ? '' : `, exit code ${exitCode}`;
  const restarts = restartCount === 0 ? '' : `, restarted ${restartCount} times`;
  return `the module "${name}" is ${runtimeStatus}${exit}${restarts}${statusDescription === '' ? '' : `: ${statusDescription}`}`;
}
