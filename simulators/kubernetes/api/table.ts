import type { Json, KubeObject } from '../objects.ts';
import type { Resource } from '../resources.ts';
import { columnsOf } from './columns.ts';

/** What of each object comes with its row. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

/**
 * Makes the table of objects that `kubectl get` prints.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
 */
export function tableOf(
  resource: Resource,
  objects: readonly KubeObject[],
  options: { readonly metadata: Json; readonly include: IncludeObject; readonly withColumns: boolean },
): Json {
  const columns = columnsOf(resource.kind);
  const fields = resource.definition.fields;
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.metadata,
    columnDefinitions: options.withColumns
      ? columns.map(({ name, type = 'string', isWide = false }) => ({
          name,
          type,
          format: name === 'Name' ? 'name' : '',
          description: fields.get(name.toLowerCase())?.description ?? name,
          priority: isWide ? 1 : 0,
        }))
      : [],
    rows: objects.map((object) => ({
      cells: columns.map(({ cell }) => cell(object)),
      ...rowObject(object, options.include),
    })),
  };
}

function rowObject(object: KubeObject, include: IncludeObject): { object?: Json } {
  if (include === 'None') return {};
  if (include === 'Object') return { object };
  return {
    object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata },
  };
}
