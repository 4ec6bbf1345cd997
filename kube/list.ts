import type { KubeClient, Query } from './client.ts';
import { KubeError } from './errors.ts';
import type { RawObject } from './raw-object.ts';

const PAGE_SIZE = 500;
/** A page of 500 large objects takes longer than a single small call. */
const PAGE_DEADLINE_MS = 30_000;

interface Page {
  metadata: { resourceVersion: string; continue?: string };
  items: RawObject[] | null;
}

/**
 * Reads a whole collection in pages and gives every object to `onObject`; returns the resourceVersion it is valid for.
 * A list that outlives the API server's history between two pages rejects with the reason `Expired`, pages that do not
 * belong together with `MixedPages`: start again.
 */
export async function listAll(
  client: KubeClient,
  path: string,
  query: Query,
  onObject: (object: RawObject) => void,
  signal?: AbortSignal,
): Promise<string> {
  let first: Page | undefined;
  let next: string | undefined;
  for (;;) {
    const page: Page = await client.request<Page>({
      verb: 'list',
      path,
      query: { ...query, limit: PAGE_SIZE, continue: next },
      deadlineMs: PAGE_DEADLINE_MS,
      ...(signal && { signal }),
    });
    first ??= page;
    const version = page.metadata.resourceVersion;
    const repeated = next !== undefined && page.metadata.continue === next;
    if (version !== first.metadata.resourceVersion || repeated) throw mixedPages(path);
    for (const object of page.items ?? []) onObject(object);
    next = page.metadata.continue || undefined;
    if (next === undefined) return version;
  }
}

function mixedPages(path: string): KubeError {
  return new KubeError(`list ${path}: its pages do not belong together (a cache on the way?); listing again`, {
    verb: 'list',
    path,
    reason: 'MixedPages',
    retryable: true,
  });
}
