import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import type { ContainerEngine } from '../../shared/containers/engine.ts';
import type { ModuleSpec } from '../module-spec.ts';
import type { JsonObject } from '../report.ts';
import type { BackgroundTasks } from './background-tasks.ts';

/** What a direct method is answered with. */
export interface MethodAnswer {
  readonly status: number;
  readonly payload?: unknown;
}

/** What methods act on. */
export interface MethodContext {
  /** Name of the hub and of the device, as they stand in logs and in names of blobs. */
  readonly hub: string;
  readonly deviceId: string;
  readonly engine: ContainerEngine;
  readonly restart: (module: string, signal: AbortSignal) => Promise<void>;
  /** Finds a module of the deployment that is in force. */
  readonly specOf: (module: string) => ModuleSpec | undefined;
  /** Gives the reported properties as they were last made. */
  readonly report: () => JsonObject;
  readonly tasks: BackgroundTasks;
  /** Folder that holds a folder for each module, with what it has collected. */
  readonly modulesFolder: string;
  readonly clock: Clock;
}

/** Most bytes of an answer; the hub takes 128 KB (IoT Edge, ModuleLogsResponse). */
export const answerBytesMax = 127_000;

/** A payload that IoT Edge's methods take: schema version of the same major as ours. */
export const schemaVersion = z.string().regex(/^1(?:\.|$)/, 'schemaVersion "1.0"');
