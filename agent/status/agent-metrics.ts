import { Counter, Gauge, Registry } from 'prom-client';
import type { AgentStatus } from './agent-status.ts';
import type { Figures } from './figures.ts';

/** The values of one metric, by labels. */
type Values = readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[];

/** A metric as it is served. */
interface Metric {
  readonly kind: 'counter' | 'gauge';
  readonly name: string;
  readonly help: string;
  readonly values: Values;
}

/** Kinds of steps that IoT Edge's agent counts, and by which names. */
const countedSteps = { start: 'start', stop: 'stop', create: 'prepare_update' } as const;

/**
 * Gives the agent's metrics in Prometheus' text form: with the names and labels of IoT Edge's agent where it has them, so that dashboards go
 * on working, and with our own prefix where it has not.
 * @see https://learn.microsoft.com/azure/iot-edge/how-to-access-built-in-metrics
 */
export async function agentMetrics(
  status: AgentStatus,
  figures: Figures,
): Promise<{ readonly contentType: string; readonly text: string }> {
  const registry = new Registry();
  registry.setDefaultLabels({ iothub: status.hub, edge_device: status.deviceId, instance_number: status.startedAt });
  for (const { kind, name, help, values } of [
    ...figureMetrics(figures),
    ...statusMetrics(status),
    ...collectionMetrics(status),
  ]) {
    const labelNames = [...new Set(values.flatMap(({ labels }) => Object.keys(labels ?? {})))];
    const settings = { name, help, labelNames, registers: [registry] };
    const metric = kind === 'counter' ? new Counter(settings) : new Gauge(settings);
    for (const { labels = {}, value } of values) metric.inc(labels, value);
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function figureMetrics(figures: Figures): Metric[] {
  const commands = [...figures.commands].map(([command, times]) => ({ labels: { command }, ...times }));
  const running = [...figures.running].map(([module, time]) => ({ labels: { module_name: module }, ...time }));
  return [
    ...Object.entries(countedSteps).map(([kind, name]): Metric => {
      const counts = [...figures.stepsOf(kind as keyof typeof countedSteps)];
      return {
        kind: 'counter',
        name: `edgeAgent_module_${name}_total`,
        help: `How often a module had the step "${kind}"`,
        values: counts.map(([module, value]) => ({ labels: { module_name: module }, value })),
      };
    }),
    {
      kind: 'counter',
      name: 'edgeAgent_command_latency_seconds_sum',
      help: 'How long steps of a kind took in all',
      values: commands.map(({ labels, seconds }) => ({ labels, value: seconds })),
    },
    {
      kind: 'counter',
      name: 'edgeAgent_command_latency_seconds_count',
      help: 'How many steps of a kind were carried out',
      values: commands.map(({ labels, count }) => ({ labels, value: count })),
    },
    {
      kind: 'counter',
      name: 'edgeagent_direct_method_invocations_count',
      help: 'How often a direct method was called',
      values: [...figures.methods].map(([name, value]) => ({ labels: { method_name: name }, value })),
    },
    {
      kind: 'gauge',
      name: 'edgeAgent_total_time_running_correctly_seconds',
      help: 'For how long a module ran while it was to run',
      values: running.map(({ labels, correct }) => ({ labels, value: correct })),
    },
    {
      kind: 'gauge',
      name: 'edgeAgent_total_time_expected_running_seconds',
      help: 'For how long a module was to run',
      values: running.map(({ labels, expected }) => ({ labels, value: expected })),
    },
  ];
}

/** What became of the rows of each stream; rows that were dropped have a reason beside. */
function collectionMetrics({ collection }: AgentStatus): Metric[] {
  const values = Object.entries(collection).flatMap(([module, { streams }]) =>
    Object.values(streams).flatMap(({ service, model, version, designation, dropped, ...rows }) => {
      const labels = { module_name: module, service, model, version: String(version), designation };
      const states = (['collected', 'uploaded', 'buffered', 'quarantined'] as const).map((state) => ({
        labels: { ...labels, state, reason: '' },
        value: rows[state],
      }));
      const losses = Object.entries(dropped).map(([reason, value]) => ({
        labels: { ...labels, state: 'dropped', reason },
        value,
      }));
      return [...states, ...losses];
    }),
  );
  return [{ kind: 'gauge', name: 'modelferry_agent_rows', help: 'What became of collected rows', values }];
}

function statusMetrics({ connection, deployment, pulls, residentBytes, freeDiskBytes }: AgentStatus): Metric[] {
  const one = (name: string, help: string, value: number): Metric => ({
    kind: 'gauge',
    name,
    help,
    values: [{ value }],
  });
  const skewSeconds = (connection.clockSkewMs ?? 0) / 1000;
  return [
    one('edgeAgent_available_disk_space_bytes', "Free space where the agent's folder is", freeDiskBytes),
    one('edgeAgent_used_memory_bytes', 'Resident memory of the agent', residentBytes),
    one('modelferry_agent_hub_connected', '1 while the agent is connected to its hub', connection.isUp ? 1 : 0),
    one('modelferry_agent_clock_skew_seconds', 'How far the clock is ahead of the hub', skewSeconds),
    one('modelferry_agent_desired_status_code', 'How carrying out the deployment went', deployment.code),
    one('modelferry_agent_on_probation', '1 while a deployment has to prove itself', deployment.isOnProbation ? 1 : 0),
    ...(['gotBytes', 'totalBytes'] as const).map((field): Metric => ({
      kind: 'gauge',
      name: field === 'gotBytes' ? 'modelferry_agent_pulled_bytes' : 'modelferry_agent_pull_size_bytes',
      help: field === 'gotBytes' ? 'What is here of an image that is being pulled' : 'What is to be pulled of it',
      values: pulls.map((pull) => ({ labels: { image: pull.image }, value: pull[field] })),
    })),
  ];
}
