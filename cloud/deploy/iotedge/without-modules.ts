import type { HubTwin } from '../../azure/hub-resources.ts';

/** The manifest that gives a device what it has, but for these modules: desired properties without the hub's own notes. */
export function withoutModules(twin: HubTwin, names: readonly string[]): Record<string, unknown> {
  const { $version: _version, $metadata: _metadata, modules, ...desired } = twin.properties.desired;
  const left = { ...(modules as Record<string, unknown> | undefined) };
  for (const name of names) delete left[name];
  return { $edgeAgent: { 'properties.desired': { ...desired, modules: left } } };
}
