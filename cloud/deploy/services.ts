import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';
import { FileLock } from '../../shared/file-lock.ts';
import { changeLabels } from '../models/labels.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { checkAnswer } from './check-answer.ts';
import type { Deployer, DeployOptions, DeployPlan, DesiredService } from './deployer.ts';
import { openDeployer } from './deployers.ts';
import {
  changedService,
  desiredOf,
  recordedService,
  type ServiceChange,
  type ServiceRequest,
} from './desired-service.ts';
import { type OperationKind, runOperation } from './operations.ts';
import { scoreService } from './score-service.ts';
import { credentialFor } from './service-call.ts';
import { newSecrets, readSecrets, removeSecrets, type ServiceSecrets, writeSecrets } from './service-keys.ts';
import {
  deleteService,
  findService,
  getService,
  insertService,
  replaceService,
  serviceExists,
  type ServiceRecord,
} from './service-records.ts';
import type { ServiceStatus } from './service-state.ts';
import { targetText } from './target.ts';
import { waitForService } from './wait-for-service.ts';

/** The settings of what is done to a service. */
export interface ServiceOptions extends DeployOptions {
  /** What it is called in the log of operations. */
  readonly kind?: OperationKind;
  /** Whether to wait until it is Healthy; when it does not become so, what was there before comes back. @default not to wait */
  readonly wait?: {
    readonly timeoutMs: number;
    /** Whether it has to give the sample's answer too, where its model has one. */
    readonly smokeTest: boolean;
  };
}

/** A service, and how it was when it was last looked at. */
export interface ServiceOutcome {
  readonly record: ServiceRecord;
  readonly status: ServiceStatus;
}

/**
 * Deploys an image as a service: on its target and as a record in the workspace, or neither. What is wrong is found before anything is
 * touched. A service that does not become Healthy stays as it is, to be looked at.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong, SERVICE_EXISTS, IMAGE_NOT_FOUND, what the deployer throws
 * @throws {FerryError} SERVICE_FAILED or TIMEOUT when it was waited for and does not become Healthy
 */
export async function createService(
  workspace: Workspace,
  request: ServiceRequest,
  options: ServiceOptions,
): Promise<ServiceOutcome> {
  const { name, target, description = '', tags = {}, properties = {} } = request;
  const { database } = workspace;
  const desired = await desiredOf(workspace, request);
  return locked(workspace, name, options.signal, async () => {
    if (findService(database, name) !== undefined) throw serviceExists(name);
    await using deployer = await openDeployer(workspace, target, options.signal);
    await deployer.check(desired, undefined, options);
    return await runOperation(database, { service: name, kind: 'create', note: options.note }, async (note) => {
      await writeSecrets(workspace, name, desired.secrets);
      const deployment = await deployer.apply(desired, undefined, { ...options, note });
      const now = new Date().toISOString();
      const record = {
        ...recordParts(desired),
        deployment,
        description,
        tags,
        properties,
        createdAt: now,
        updatedAt: now,
      };
      try {
        insertService(database, record);
      } catch (error) {
        await deployer.remove(record, { ...options, note });
        await removeSecrets(workspace, name);
        throw error;
      }
      return { record, status: await settle(deployer, { record, desired }, { ...options, note }) };
    });
  });
}

/**
 * Changes a service: its image, any settings, its keys, its labels. The address and what is not named stay. Waited for, a service that does
 * not become Healthy gets back what it had, and the change fails.
 * @throws {FerryError} as {@link createService}, and SERVICE_NOT_FOUND
 */
export async function updateService(
  workspace: Workspace,
  name: string,
  change: ServiceChange,
  options: ServiceOptions,
): Promise<ServiceOutcome> {
  const { database } = workspace;
  return locked(workspace, name, options.signal, async () => {
    const before = getService(database, name);
    const desired = await changedService(workspace, before, change);
    const secretsBefore = (await readSecrets(workspace, name)) ?? newSecrets();
    const labels = changeLabels(before, change.labels ?? {});
    await using deployer = await openDeployer(workspace, before.target, options.signal);
    await deployer.check(desired, before, options);
    const kind = options.kind ?? 'update';
    return await runOperation(database, { service: name, kind, note: options.note }, async (note) => {
      const noting = { ...options, note };
      await writeSecrets(workspace, name, desired.secrets);
      try {
        const deployment = await deployer.apply(desired, before, noting);
        const { createdAt } = before;
        const record = {
          ...recordParts(desired),
          ...labels,
          deployment,
          createdAt,
          updatedAt: new Date().toISOString(),
        };
        replaceService(database, record);
        return { record, status: await settle(deployer, { record, desired }, noting) };
      } catch (error) {
        options.signal.throwIfAborted();
        await takeBack(workspace, deployer, { before, secrets: secretsBefore, failed: desired }, noting);
        throw failedUpdate(before, error);
      }
    });
  });
}

/** Says what {@link createService} or {@link updateService} would do; touches nothing. */
export async function planService(
  workspace: Workspace,
  request: ServiceRequest,
  options: DeployOptions,
): Promise<DeployPlan> {
  const current = findService(workspace.database, request.name);
  // Of a service that there is, what is not named stays.
  const isThere = current !== undefined && targetText(current.target) === targetText(request.target);
  const desired = await (isThere ? changedService(workspace, current, request) : desiredOf(workspace, request));
  await using deployer = await openDeployer(workspace, request.target, options.signal);
  await deployer.check(desired, current, options);
  return await deployer.plan(desired, current, options);
}

/** Looks how a service is. */
export async function observeService(
  workspace: Workspace,
  record: ServiceRecord,
  signal: AbortSignal,
): Promise<ServiceStatus> {
  await using deployer = await openDeployer(workspace, record.target, signal);
  return await deployer.observe(record);
}

/**
 * Deletes a service with all that was made for it. Cut short at any line, a second call finishes it.
 * @returns what was removed, a line each
 * @throws {FerryError} SERVICE_NOT_FOUND
 */
export async function removeService(
  workspace: Workspace,
  name: string,
  options: DeployOptions,
): Promise<{ readonly record: ServiceRecord; readonly removed: readonly string[] }> {
  const { database } = workspace;
  return locked(workspace, name, options.signal, async () => {
    const record = getService(database, name);
    await using deployer = await openDeployer(workspace, record.target, options.signal);
    const removed = await runOperation(database, { service: name, kind: 'delete', note: options.note }, (note) =>
      deployer.remove(record, { ...options, note }),
    );
    await removeSecrets(workspace, name);
    deleteService(database, name);
    return { record, removed };
  });
}

/** One thing at a time is done to a service, by whatever process. */
async function locked<T>(workspace: Workspace, name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const folder = join(workspace.folder, 'locks');
  await mkdir(folder, { recursive: true });
  return new FileLock(join(folder, `service-${name}`)).run(work, { signal });
}

/** Waits until a service is Healthy and answers its sample rightly, where that is asked for; else only looks. */
async function settle(
  deployer: Deployer,
  { record, desired }: { readonly record: ServiceRecord; readonly desired: DesiredService },
  { wait, note, signal }: ServiceOptions,
): Promise<ServiceStatus> {
  if (wait === undefined) return await deployer.observe(record);
  const { timeoutMs } = wait;
  const { name } = record;
  const status = await waitForService({
    name,
    timeoutMs,
    signal,
    isCounted: record.target.kind === 'iotedge',
    note,
    observe: () => deployer.observe(record),
  });
  const { sample, secrets } = desired;
  if (!wait.smokeTest || sample === undefined || status.address === undefined) return status;
  const answer = await scoreService({
    service: name,
    input: JSON.stringify(sample.input),
    address: status.address,
    ...credentialFor(record, secrets),
    timeoutMs,
    signal,
  });
  if (sample.output !== null) checkAnswer(name, { expected: sample.output, answer });
  note(`${name}: answers its sample`);
  return status;
}

/** Gives a service back what it had before a change that failed. */
async function takeBack(
  workspace: Workspace,
  deployer: Deployer,
  {
    before,
    secrets,
    failed,
  }: { readonly before: ServiceRecord; readonly secrets: ServiceSecrets; readonly failed: DesiredService },
  options: DeployOptions,
): Promise<void> {
  const { database } = workspace;
  const { name, image } = before;
  options.note(`${name}: going back to ${image.name}:${image.version}`);
  const at = findService(database, name) ?? before;
  await writeSecrets(workspace, name, secrets);
  const desired = recordedService(workspace, before, secrets);
  try {
    const deployment = await deployer.apply(
      desired,
      { ...at, given: failed.given, settings: failed.settings },
      options,
    );
    replaceService(database, { ...before, deployment });
  } catch (error) {
    replaceService(database, before);
    options.note(`${name}: could not go back: ${messageOf(error)}`);
  }
}

function failedUpdate({ image }: ServiceRecord, error: unknown): unknown {
  if (!isFerryError(error)) return error;
  const { code, message, next, cause } = error;
  return new FerryError(code, `${message}; it runs on with ${image.name}:${image.version}`, {
    ...(cause === undefined ? {} : { cause }),
    ...(next === undefined ? {} : { next }),
  });
}

function recordParts({ name, target, image, given, settings }: DesiredService) {
  const { name: imageName, version, digest } = image;
  return { name, target, image: { name: imageName, version, digest }, given, settings };
}
