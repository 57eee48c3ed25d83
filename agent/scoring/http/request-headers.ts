/** Names that nearly every request has, as clients write them: looking one up is faster than making it anew. */
const lowerCase = new Map(
  ['Accept', 'Accept-Encoding', 'Connection', 'Content-Length', 'Content-Type', 'Host', 'User-Agent'].flatMap(
    (name) => [
      [name, name.toLowerCase()],
      [name.toLowerCase(), name.toLowerCase()],
    ],
  ),
);

/** Headers of a request, names in lower case. There are a handful: looking through them is faster than a map is made. */
export class RequestHeaders {
  readonly #names: string[] = [];
  readonly #values: string[] = [];

  get count(): number {
    return this.#names.length;
  }

  /** @param name in any case */
  add(name: string, value: string): void {
    this.#names.push(lowerCase.get(name) ?? name.toLowerCase());
    this.#values.push(value);
  }

  /** Gives the first value of a name. */
  get(name: string): string | undefined {
    const at = this.#names.indexOf(name);
    return at === -1 ? undefined : this.#values[at];
  }

  /** Counts the values of a name. */
  countOf(name: string): number {
    let count = 0;
    for (let at = this.#names.indexOf(name); at !== -1; at = this.#names.indexOf(name, at + 1)) count += 1;
    return count;
  }

  /** Gives all values of a name. */
  all(name: string): string[] {
    return this.#values.filter((_, index) => this.#names[index] === name);
  }

  /** Gives all of them as an object, values of one name in one text (RFC 9110, 5.3; cookies by RFC 6265, 5.4). */
  toRecord(): Record<string, string> {
    return Object.fromEntries(
      [...new Set(this.#names)].map((name) => [name, this.all(name).join(name === 'cookie' ? '; ' : ', ')]),
    );
  }
}
