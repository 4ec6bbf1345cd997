import type { KubeClient, Query } from './client.ts';
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
 * A list that outlives the API server's history between two pages rejects with the reason `Expired`: start again.
 */
export async function listAll(
  client: KubeClient,
  path: string,
  query: Query,
  onObject: (object: RawObject) => void,
  signal?: AbortSignal,
): Promise<string> {
  let next: string | undefined;
  for (;;) {
    const page: Page = await client.request<Page>({
      verb: 'list',
      path,
      query: { ...query, limit: PAGE_SIZE, continue: next },
      deadlineMs: PAGE_DEADLINE_MS,
      ...(signal && { signal }),
    });
    for (const object of page.items ?? []) onObject(object);
    next = page.metadata.continue || undefined;
    if (next === undefined) return page.metadata.resourceVersion;
  }
}
