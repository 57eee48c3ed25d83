import type { Digest } from '../../shared/digest.ts';
import { indexMediaType } from './document.ts';
import type { Exchange } from './exchange.ts';
import { Refusal } from './refusal.ts';
import { byCodeUnits, type Repositories } from './repositories.ts';

/** Answers what lists: tags, referrers, and the catalog of repositories. Distribution-spec 1.1, "Content Discovery". */
export class ListingEndpoint {
  readonly #repositories: Repositories;

  constructor(repositories: Repositories) {
    this.#repositories = repositories;
  }

  async catalog(exchange: Exchange): Promise<void> {
    const { items, headers } = page(exchange, await this.#repositories.names());
    exchange.answerJson(200, { repositories: items }, headers);
  }

  async tags(exchange: Exchange, repository: string): Promise<void> {
    const shown = await this.#repositories.get(repository);
    if (shown === undefined) throw new Refusal('NAME_UNKNOWN', `there is no repository "${repository}"`);
    const { items, headers } = page(exchange, [...shown.tags.keys()].sort(byCodeUnits));
    exchange.answerJson(200, { name: repository, tags: items }, headers);
  }

  /** Lists the manifests whose subject is the digest; none is no error, whether the subject is there or not. */
  async referrers(exchange: Exchange, repository: string, subject: Digest): Promise<void> {
    const wanted = exchange.query.get('artifactType');
    const shown = [...((await this.#repositories.get(repository))?.manifests.values() ?? [])];
    const manifests = shown
      .filter(({ document }) => document.subject === subject)
      .filter(({ document }) => wanted === null || document.artifactType === wanted)
      .map(({ mediaType, digest, size, document: { artifactType, annotations } }) => ({
        mediaType,
        digest,
        size,
        ...(artifactType === undefined ? {} : { artifactType }),
        ...(annotations === undefined ? {} : { annotations }),
      }));
    exchange.answerJson(
      200,
      { schemaVersion: 2, mediaType: indexMediaType, manifests },
      { 'content-type': indexMediaType, ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
    );
  }
}

/** Gives the part of a sorted list that `n` and `last` ask for, and the link to what follows. */
function page(
  exchange: Exchange,
  all: readonly string[],
): { readonly items: readonly string[]; readonly headers: Record<string, string> } {
  const last = exchange.query.get('last');
  const n = exchange.query.get('n');
  if (n !== null && !/^\d+$/.test(n)) {
    throw new Refusal('UNSUPPORTED', `"${n}" is no number of items`, { status: 400 });
  }
  const rest = last === null ? all : all.filter((item) => item > last);
  const items = n === null ? rest : rest.slice(0, Number(n));
  const end = items.at(-1);
  if (end === undefined || items.length === rest.length) return { items, headers: {} };
  const next = new URLSearchParams({ n: n ?? '', last: end });
  return { items, headers: { link: `<${exchange.path}?${next.toString()}>; rel="next"` } };
}
