/**
 * Makes the body that a `GET /score` stands for, as Azure ML reads it: an object of the query's parameters, each value as JSON where it
 * is JSON, else as text; a parameter that stands there several times becomes an array.
 */
export function queryBody(query: string): Uint8Array {
  const values = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(query)) {
    values.set(name, [...(values.get(name) ?? []), isJson(value) ? value : JSON.stringify(value)]);
  }
  const members = [...values].map(([name, texts]) => {
    const [only = 'null'] = texts;
    return `${JSON.stringify(name)}:${texts.length === 1 ? only : `[${texts.join(',')}]`}`;
  });
  // The values stay text all the way, so that no digit of a long integer is lost.
  return Buffer.from(`{${members.join(',')}}`);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
