import { isObject, type Json, type JsonObject } from '../hub/json.ts';
import type { Parts } from '../hub/parts.ts';
import { type Deployment, moduleName } from './deployment.ts';

/** Module that agents report as. */
const agentModule = '$edgeAgent';

/** How far one deployment has come. */
export interface Progress {
  readonly deployment: Deployment;
  readonly beganMs: number;
  /** When each device was first seen as it is to be, by device. */
  readonly convergedMs: Map<string, number>;
}

/** Watches the hub's twins from the inside: when which device has become what was deployed, and how much the hub has to do. */
export class Observer {
  readonly #parts: Parts;
  readonly #nowMs: () => number;
  readonly progress: Progress[] = [];
  readonly connections = new Rate();
  readonly patches = new Rate();
  /** Devices to which the last deployment was given once more. */
  deployedAgain = 0;

  /** @param options.nowMs milliseconds from the begin */
  constructor(parts: Parts, options: { readonly nowMs: () => number }) {
    this.#parts = parts;
    this.#nowMs = options.nowMs;
    parts.presence.events.on('connected', () => this.connections.note(this.#nowMs()));
    parts.twins.events.on('reported', ({ deviceId, moduleId }) => {
      if (moduleId !== agentModule) return;
      this.patches.note(this.#nowMs());
      this.#look(deviceId);
    });
  }

  /** Watches one more deployment from now on. */
  begin(deployment: Deployment): void {
    this.progress.push({ deployment, beganMs: this.#nowMs(), convergedMs: new Map() });
  }

  /** Gives the devices that are not as the last deployment says. */
  unconverged(): string[] {
    const { deployment } = this.progress.at(-1) ?? {};
    return [...this.#parts.registry.devices.keys()].filter(
      (deviceId) => deployment !== undefined && !this.#runs(deviceId, deployment.image),
    );
  }

  /** Gives the devices that have reported that they tried what they are to be, and do not go on with it. */
  failed(): string[] {
    return this.unconverged().filter((deviceId) => {
      const twin = this.#twin(deviceId);
      const { lastDesiredVersion, lastDesiredStatus } = twin?.reported.value ?? {};
      return lastDesiredVersion === twin?.desired.version && at(lastDesiredStatus)['code'] === 500;
    });
  }

  #look(deviceId: string): void {
    const last = this.progress.at(-1);
    if (last === undefined || last.convergedMs.has(deviceId) || !this.#runs(deviceId, last.deployment.image)) return;
    last.convergedMs.set(deviceId, this.#nowMs());
  }

  /** Says whether a device reports that it has carried out what is desired, and that the module of that image runs. */
  #runs(deviceId: string, image: string): boolean {
    const twin = this.#twin(deviceId);
    if (twin === undefined) return false;
    const { lastDesiredVersion, lastDesiredStatus, modules } = twin.reported.value;
    const module = at(at(modules, moduleName));
    return (
      lastDesiredVersion === twin.desired.version &&
      at(lastDesiredStatus)['code'] === 200 &&
      module['runtimeStatus'] === 'running' &&
      at(module['settings'])['image'] === image
    );
  }

  #twin(deviceId: string) {
    return this.#parts.registry.devices.get(deviceId)?.modules.get(agentModule)?.twin;
  }
}

/** Counts how often something happens, and most within one second. */
export class Rate {
  count = 0;
  mostPerSecond = 0;
  #second = Number.NEGATIVE_INFINITY;
  #inSecond = 0;

  note(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) [this.#second, this.#inSecond] = [second, 0];
    this.count += 1;
    this.#inSecond += 1;
    this.mostPerSecond = Math.max(this.mostPerSecond, this.#inSecond);
  }
}

function at(value: Json | undefined, name?: string): JsonObject {
  const found = name === undefined ? value : at(value)[name];
  return isObject(found) ? found : {};
}
