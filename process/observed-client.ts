import type { KubeClient, KubeRequest } from '../kube/client.ts';
import { KubeError } from '../kube/errors.ts';

/** Who is told what goes between this process and the API server. */
export interface ClientObserver {
  /** `code`: of HTTP; where there was no answer, the reason of the KubeError, or `Aborted` where the process gave up. */
  called(call: { verb: string; resource: string; code: string; seconds: number }): void;
  /** The API server said something of this collection, if only that nothing has changed. */
  heard(resource: string): void;
  watchEnded(resource: string, how: 'closed' | 'failed'): void;
}

/** The same client, observed. Watches of the pods of a single node come and go, and are not told. */
export function observedClient(client: KubeClient, ...observers: readonly ClientObserver[]): KubeClient {
  const observer = toAll(observers);
  const observed = async <T>(verb: string, path: string, call: () => Promise<T>): Promise<T> => {
    const startedAtMs = performance.now();
    const tell = (code: string) =>
      observer.called({ verb, resource: resourceOf(path), code, seconds: (performance.now() - startedAtMs) / 1000 });
    try {
      const answer = await call();
      tell('200');
      return answer;
    } catch (error) {
      tell(error instanceof KubeError ? String(error.code ?? error.reason) : 'Aborted');
      throw error;
    }
  };
  return {
    request: <T>(request: KubeRequest) => observed(request.verb, request.path, () => client.request<T>(request)),
    async watch(path, query, onEvent, signal, onOpen) {
      if (query['fieldSelector'] !== undefined) return client.watch(path, query, onEvent, signal, onOpen);
      const resource = resourceOf(path);
      const opened = () => {
        observer.heard(resource);
        onOpen?.();
      };
      try {
        await client.watch(
          path,
          query,
          (event) => {
            observer.heard(resource);
            onEvent(event);
          },
          signal,
          opened,
        );
        observer.watchEnded(resource, 'closed');
      } catch (error) {
        if (!signal.aborted) observer.watchEnded(resource, 'failed');
        throw error;
      }
    },
    close: () => client.close(),
  };
}

function toAll(observers: readonly ClientObserver[]): ClientObserver {
  return {
    called: (call) => observers.forEach((one) => one.called(call)),
    heard: (resource) => observers.forEach((one) => one.heard(resource)),
    watchEnded: (resource, how) => observers.forEach((one) => one.watchEnded(resource, how)),
  };
}

/** The kind of what a path is about: `nodes`, `pods/eviction`; `other` for what is no resource. Never a name. */
export function resourceOf(path: string): string {
  const [root, ...rest] = path.split('/').filter((part) => part !== '');
  const parts = root === 'api' ? rest.slice(1) : root === 'apis' ? rest.slice(2) : [];
  const inNamespace = parts[0] === 'namespaces' && parts.length > 2 ? parts.slice(2) : parts;
  const [resource, , subresource] = inNamespace;
  if (resource === undefined) return 'other';
  return subresource === undefined ? resource : `${resource}/${subresource}`;
}
