import { BlobEndpoint } from './blobs.ts';
import type { Exchange } from './exchange.ts';
import type { Layout } from './layout.ts';
import { ListingEndpoint } from './listings.ts';
import { ManifestEndpoint } from './manifests.ts';
import { Refusal } from './refusal.ts';
import type { Repositories } from './repositories.ts';
import { type Route, routeOf } from './route.ts';
import { UploadEndpoint } from './upload-endpoint.ts';
import type { Uploads } from './uploads.ts';

/** Answers a request, or fails with a `Refusal`. */
export type Answer = (exchange: Exchange) => Promise<void> | void;

/** The parts that answer, each for one noun of the specification. */
interface Endpoints {
  readonly blobs: BlobEndpoint;
  readonly manifests: ManifestEndpoint;
  readonly pushes: UploadEndpoint;
  readonly listings: ListingEndpoint;
}

/** Makes what answers every request of the distribution-spec 1.1. */
export function answerWith(layout: Layout, repositories: Repositories, uploads: Uploads): Answer {
  const endpoints: Endpoints = {
    blobs: new BlobEndpoint(layout, repositories),
    manifests: new ManifestEndpoint(layout, repositories, uploads),
    pushes: new UploadEndpoint(repositories, uploads),
    listings: new ListingEndpoint(repositories),
  };
  return (exchange) => {
    const answers = answersTo(routeOf(exchange.path), exchange, endpoints);
    const answer = answers[exchange.method === 'HEAD' ? 'GET' : exchange.method];
    if (answer !== undefined) return answer();
    throw new Refusal('UNSUPPORTED', `${exchange.method} is not for this path`, {
      headers: { allow: Object.keys(answers).join(', ') },
    });
  };
}

/** What answers a route, by method; `GET` stands for `HEAD` too. */
// oxlint-disable-next-line typescript/consistent-return -- the switch has a case for every kind, as the compiler checks
function answersTo(
  route: Route,
  exchange: Exchange,
  { blobs, manifests, pushes, listings }: Endpoints,
): Readonly<Record<string, () => Promise<void> | void>> {
  switch (route.kind) {
    case 'api':
      return { GET: () => exchange.answerJson(200, {}) };
    case 'catalog':
      return { GET: () => listings.catalog(exchange) };
    case 'tags':
      return { GET: () => listings.tags(exchange, route.repository) };
    case 'referrers':
      return { GET: () => listings.referrers(exchange, route.repository, route.digest) };
    case 'manifest':
      return {
        GET: () => manifests.get(exchange, route.repository, route.reference),
        PUT: () => manifests.put(exchange, route.repository, route.reference),
        DELETE: () => manifests.delete(exchange, route.repository, route.reference),
      };
    case 'blob':
      return {
        GET: () => blobs.get(exchange, route.repository, route.digest),
        DELETE: () => blobs.delete(exchange, route.repository, route.digest),
      };
    case 'uploads':
      return { POST: () => pushes.begin(exchange, route.repository) };
    case 'upload':
      return {
        GET: () => pushes.status(exchange, route.repository, route.id),
        PATCH: () => pushes.append(exchange, route.repository, route.id),
        PUT: () => pushes.finish(exchange, route.repository, route.id),
        DELETE: () => pushes.cancel(exchange, route.repository, route.id),
      };
  }
}
