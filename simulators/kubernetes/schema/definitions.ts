import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a field of a Kubernetes object holds. */
export type FieldType =
  | { readonly kind: 'string' | 'number' | 'boolean' | 'time' | 'quantity' | 'intOrString' | 'any' }
  | { readonly kind: 'list'; readonly of: FieldType }
  | { readonly kind: 'map'; readonly of: FieldType }
  | { readonly kind: 'object'; readonly name: string };

/** A field, as Kubernetes' schema has it. */
export interface Field {
  readonly type: FieldType;
  readonly required: boolean;
  readonly description: string;
  /** Values that it may have; all without. */
  readonly values?: readonly string[];
}

/** A type of Kubernetes' schema: `io.k8s.api.apps.v1.DeploymentSpec`. */
export interface Definition {
  readonly name: string;
  readonly description: string;
  readonly fields: ReadonlyMap<string, Field>;
}

const modules = new Map<string, string>();
const known = new Map<string, Definition>();

/** Names that are no objects: how they are written in JSON is fixed elsewhere. */
const scalars: Readonly<Record<string, FieldType>> = {
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': { kind: 'time' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': { kind: 'time' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': { kind: 'any' },
  'io.k8s.apimachinery.pkg.runtime.RawExtension': { kind: 'any' },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { kind: 'intOrString' },
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { kind: 'quantity' },
};

/**
 * Gives a type of Kubernetes' own schema, read from the package `kubernetes-models`, which is generated from the OpenAPI document
 * of a cluster: its declarations have every field with its description.
 * @param path module in that package: `apps/v1/Deployment`
 */
export function definitionAt(path: string): Definition {
  return definitionNamed(register(new URL(`${path}.d.ts`, root())));
}

/** Gives a type that another one has named. */
export function definitionNamed(name: string): Definition {
  const found = known.get(name);
  if (found !== undefined) return found;
  const file = modules.get(name);
  if (file === undefined) throw new Error(`No type of the schema names "${name}"`);
  const read = parse(name, file, readFileSync(file, 'utf8'));
  known.set(name, read);
  return read;
}

function root(): string {
  return import.meta.resolve('kubernetes-models/v1/Pod').replace(/v1\/Pod\.js$/, '');
}

/** Notes where a type is declared, and gives its name in the OpenAPI document. */
function register(url: URL): string {
  const file = fileURLToPath(url);
  const name = nameOf(file);
  modules.set(name, file);
  return name;
}

/** `…/kubernetes-models/policy/v1/PodDisruptionBudget.d.ts` is `io.k8s.api.policy.v1.PodDisruptionBudget`. */
function nameOf(file: string): string {
  const shared = /@kubernetes-models\/apimachinery\/(.+)\.d\.ts$/.exec(file)?.[1];
  if (shared !== undefined) return `io.k8s.apimachinery.pkg.${shared.replaceAll('/', '.')}`;
  const path = /kubernetes-models\/(.+)\.d\.ts$/.exec(file)?.[1] ?? '';
  const parts = path.split('/');
  const group = parts.length === 2 ? 'core' : (parts[0] ?? '').replace(/\..*$/, '');
  return ['io.k8s.api', group, ...parts.slice(-2)].join('.');
}

function parse(name: string, file: string, text: string): Definition {
  const imported = new Map<string, string>();
  for (const [, names = '', from = ''] of text.matchAll(/^import \{ ([^}]+) \} from "([^"]+)";$/gm)) {
    if (!names.startsWith('II')) continue;
    imported.set(names.trim(), register(moduleOf(from, file)));
  }
  const [head = '', body = ''] = /([\s\S]*?)^export interface [^{]*\{\n([\s\S]*?)^\}/m.exec(text)?.slice(1) ?? [];
  const fields = new Map<string, Field>();
  const pattern = /(?: {4}\/\*\*\n((?: {5}\*.*\n)*?) {5}\*\/\n)? {4}"([^"]+)"(\?)?: ([\s\S]*?);\n(?= {4}["/]|$)/g;
  for (const [, comment = '', field = '', optional, type = ''] of body.matchAll(pattern)) {
    fields.set(field, fieldOf(type, { required: optional === undefined, comment, name, imported }));
  }
  return { name, description: commentText(/\/\*\*\n([\s\S]*?)\*\/\n$/.exec(head)?.[1] ?? ''), fields };
}

function moduleOf(from: string, file: string): URL {
  const url = from.startsWith('.') ? new URL(from, `file://${file}`) : new URL(import.meta.resolve(from, root()));
  return new URL(url.href.replace(/\.js$/, '.d.ts'));
}

function fieldOf(
  type: string,
  of: { required: boolean; comment: string; name: string; imported: ReadonlyMap<string, string> },
): Field {
  const { required, comment, imported, name } = of;
  const values = type.startsWith('"') ? [...type.matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '') : undefined;
  return {
    type: values === undefined ? typeOf(type, imported, name) : { kind: 'string' },
    required,
    description: commentText(comment),
    ...(values === undefined ? {} : { values }),
  };
}

function typeOf(text: string, imported: ReadonlyMap<string, string>, self: string): FieldType {
  const list = /^Array<([\s\S]+)>$/.exec(text)?.[1];
  if (list !== undefined) return { kind: 'list', of: typeOf(list, imported, self) };
  const map = /^\{\s*\[key: string\]: ([\s\S]+);\s*\}$/.exec(text)?.[1];
  if (map !== undefined) return { kind: 'map', of: typeOf(map, imported, self) };
  if (text.startsWith('"')) return { kind: 'string' };
  if (text === 'string' || text === 'number' || text === 'boolean') return { kind: text };
  if (!/^II\w+$/.test(text)) return { kind: 'any' };
  const name = imported.get(text) ?? self;
  return scalars[name] ?? { kind: 'object', name };
}

function commentText(comment: string): string {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join('\n')
    .trim();
}
