import { createHash } from 'node:crypto';
import type { Json } from '../objects.ts';
import { apiVersionOf, type Resource, resources } from '../resources.ts';
import { type Definition, definitionNamed, type Field, type FieldType } from '../schema/definitions.ts';
import { listMerge } from '../schema/merge-keys.ts';
import { kubernetesVersion } from './discovery.ts';

const documents = new Map<string, Json>();

/** Answers `/openapi/v2`, `/openapi/v3` and what that lists; undefined for other paths. */
export function openapi(path: string): Json | undefined {
  if (path === '/openapi/v2') return document('v2', resources);
  if (path === '/openapi/v3') {
    const paths = [...new Set(resources.map(pathOf))].map((of) => {
      const hash = createHash('sha256')
        .update(JSON.stringify(third(of)))
        .digest('hex')
        .toUpperCase();
      return [of, { serverRelativeURL: `/openapi/v3/${of}?hash=${hash}` }];
    });
    return { paths: Object.fromEntries(paths) as Json };
  }
  const of = path.startsWith('/openapi/v3/') ? path.slice('/openapi/v3/'.length) : '';
  return resources.some((resource) => pathOf(resource) === of) ? third(of) : undefined;
}

function pathOf(resource: Resource): string {
  return `${resource.group === '' ? 'api' : 'apis'}/${apiVersionOf(resource)}`;
}

function third(of: string): Json {
  return document(
    `v3/${of}`,
    resources.filter((resource) => pathOf(resource) === of),
  );
}

/** Made once each: it is the same as long as the program runs. */
function document(name: string, of: readonly Resource[]): Json {
  const made = documents.get(name) ?? build(name === 'v2' ? 2 : 3, of);
  documents.set(name, made);
  return made;
}

function build(major: 2 | 3, of: readonly Resource[]): Json {
  const { major: kubernetes, minor } = kubernetesVersion;
  const info = { title: 'Kubernetes', version: `v${kubernetes}.${minor}.0` };
  const prefix = major === 2 ? '#/definitions/' : '#/components/schemas/';
  const schemas = Object.fromEntries(
    reached(of.map(({ definition }) => definition)).map((definition) => [
      definition.name,
      schemaOf(
        definition,
        prefix,
        of.find((one) => one.definition === definition),
      ),
    ]),
  );
  const paths = Object.fromEntries(of.map((resource) => [addressOf(resource), operationsOf(resource, major)]));
  if (major === 2) return { swagger: '2.0', info, paths, definitions: schemas };
  return { openapi: '3.0.0', info, paths, components: { schemas } };
}

function addressOf(resource: Resource): string {
  return `/${pathOf(resource)}/${resource.namespaced ? 'namespaces/{namespace}/' : ''}${resource.plural}/{name}`;
}

/** `kubectl` looks here whether the server checks fields by itself; where it does, it leaves that to it. */
function operationsOf({ group, version, kind }: Resource, major: 2 | 3): Json {
  const text = major === 2 ? { type: 'string', uniqueItems: true } : { schema: { type: 'string', uniqueItems: true } };
  const parameters = ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map((name) => ({
    name,
    in: 'query',
    ...text,
  }));
  return {
    patch: {
      'x-kubernetes-action': 'patch',
      'x-kubernetes-group-version-kind': { group, version, kind },
      parameters,
      responses: { 200: { description: 'OK' } },
    },
  };
}

/** All types that some types lead to. */
function reached(roots: readonly Definition[]): Definition[] {
  const found = new Map<string, Definition>();
  const visit = (definition: Definition): void => {
    if (found.has(definition.name)) return;
    found.set(definition.name, definition);
    for (const { type } of definition.fields.values()) {
      const inner = innermost(type);
      if (inner.kind === 'object') visit(definitionNamed(inner.name));
    }
  };
  for (const root of roots) visit(root);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function innermost(type: FieldType): FieldType {
  return type.kind === 'list' || type.kind === 'map' ? innermost(type.of) : type;
}

function schemaOf(definition: Definition, prefix: string, resource: Resource | undefined): Json {
  const fields = [...definition.fields];
  const required = fields.filter(([, field]) => field.required && resource === undefined).map(([name]) => name);
  return {
    description: definition.description,
    type: 'object',
    properties: Object.fromEntries(fields.map(([name, field]) => [name, propertyOf(definition, name, field, prefix)])),
    ...(required.length === 0 ? {} : { required }),
    ...(resource === undefined
      ? {}
      : {
          'x-kubernetes-group-version-kind': [
            { group: resource.group, version: resource.version, kind: resource.kind },
          ],
        }),
  };
}

function propertyOf(definition: Definition, name: string, { type, description, values }: Field, prefix: string): Json {
  const schema = typeOf(type, prefix);
  const merge = type.kind === 'list' ? listMerge(definition.name, name) : undefined;
  // A reference stands alone in version 3.0; its description is put beside it, as Kubernetes does.
  const isReference = '$ref' in schema && prefix.includes('components');
  return {
    description,
    ...(isReference ? { allOf: [schema] } : schema),
    ...(values === undefined ? {} : { enum: values }),
    ...(merge === undefined ? {} : listMarks(merge)),
  };
}

function listMarks(merge: ReturnType<typeof listMerge>): Json {
  if (merge.by === 'atomic') return { 'x-kubernetes-list-type': 'atomic' };
  if (merge.by === 'set') return { 'x-kubernetes-list-type': 'set', 'x-kubernetes-patch-strategy': 'merge' };
  return {
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': merge.keys,
    'x-kubernetes-patch-strategy': 'merge',
    'x-kubernetes-patch-merge-key': merge.patchKey ?? merge.keys[0],
  };
}

function typeOf(type: FieldType, prefix: string): Json {
  switch (type.kind) {
    case 'list':
      return { type: 'array', items: typeOf(type.of, prefix) };
    case 'map':
      return { type: 'object', additionalProperties: typeOf(type.of, prefix) };
    case 'object':
      return { $ref: `${prefix}${type.name}` };
    case 'time':
      return { type: 'string', format: 'date-time' };
    case 'quantity':
      return { type: 'string' };
    case 'intOrString':
      return { type: 'string', format: 'int-or-string' };
    case 'any':
      return { type: 'object' };
    case 'number':
      return { type: 'integer' };
    case 'string':
    case 'boolean':
      break;
  }
  return { type: type.kind };
}
