import { cause, type Cause } from '../status.ts';

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const service = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const value = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const subdomainText =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const serviceText =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const valueText =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const qualifiedText =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/** Checks a DNS label of at most 63 characters: names of namespaces, containers, volumes. */
export function checkLabel(field: string, text: string): Cause[] {
  return checkText(field, text, { pattern: label, why: labelText, max: 63 });
}

/** Checks the name of an object of a kind. */
export function checkName(kind: string, text: string): Cause[] {
  const field = 'metadata.name';
  if (kind === 'Service') return checkText(field, text, { pattern: service, why: serviceText, max: 63 });
  if (kind === 'Namespace') return checkLabel(field, text);
  // Names of roles are parts of paths only.
  if (/Role/.test(kind))
    return /[/%]|^\.\.?$/.test(text) ? [cause.invalid(field, text, `may not contain '/' or '%'`)] : [];
  return checkText(field, text, { pattern: subdomain, why: subdomainText, max: 253 });
}

/** Checks the keys and values of labels. */
export function checkLabels(field: string, labels: Readonly<Record<string, string>> = {}): Cause[] {
  return Object.entries(labels).flatMap(([key, text]) => [
    ...checkKey(field, key),
    ...checkText(field, text, { pattern: value, why: valueText, max: 63 }),
  ]);
}

/** Checks the keys of annotations, and how large all are. */
export function checkAnnotations(annotations: Readonly<Record<string, string>> = {}): Cause[] {
  const field = 'metadata.annotations';
  const bytes = Object.entries(annotations).reduce((sum, [key, text]) => sum + key.length + Buffer.byteLength(text), 0);
  const tooLong = { reason: 'FieldValueTooLong', message: 'Too long: may not be more than 262144 bytes', field };
  return [
    ...Object.keys(annotations).flatMap((key) => checkKey(field, key.toLowerCase())),
    ...(bytes > 262_144 ? [tooLong] : []),
  ];
}

function checkKey(field: string, key: string): Cause[] {
  const slash = key.indexOf('/');
  const name = key.slice(slash + 1);
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  if (prefix !== undefined && (prefix.length > 253 || !subdomain.test(prefix))) {
    return [cause.invalid(field, key, `prefix part ${subdomainText}`)];
  }
  return name !== '' && name.length <= 63 && value.test(name) ? [] : [cause.invalid(field, key, qualifiedText)];
}

function checkText(field: string, text: string, of: { pattern: RegExp; why: string; max: number }): Cause[] {
  if (text.length > of.max) return [cause.invalid(field, text, `must be no more than ${of.max} characters`)];
  return of.pattern.test(text) ? [] : [cause.invalid(field, text, of.why)];
}
