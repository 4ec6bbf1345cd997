import type { KubeClient } from '../kube/client.ts';
import { isReason } from '../kube/errors.ts';

/** The Lease whose holder is not a process but the name of the cluster: `kubectl get leases` shows it. */
const LEASE = 'kairos-cluster-name';
const DURATION_S = 60;

interface Lease {
  metadata: { name: string; resourceVersion?: string };
  spec?: { holderIdentity?: string | null; renewTime?: string | null; leaseDurationSeconds?: number };
}

/** Watchers that call this cluster by another name are at work. Asked for again: they may be stopped at any time. */
export class OtherNameError extends Error {
  override readonly name = 'OtherNameError';
}

/**
 * Holds the name of the cluster for all watchers that use it. Ids of workflows begin with it: operators of two names
 * would not see each other's rollouts. A name is free when nobody has renewed it for a minute of our own clock.
 */
export class ClusterName {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #id: string;
  #seen = { record: '', atMs: 0 };

  /** `id` is what the cluster is called in workflow ids. */
  constructor(client: KubeClient, namespace: string, id: string) {
    this.#client = client;
    this.#namespace = namespace;
    this.#id = id;
  }

  /**
   * Takes or renews the name; answers the former one when it has just been changed. May be repeated at any time.
   * @throws OtherNameError while another name is in use
   */
  async hold(): Promise<string | undefined> {
    const lease = await this.#read();
    const holder = lease?.spec?.holderIdentity ?? undefined;
    if (lease !== undefined && holder !== undefined && holder !== this.#id && !this.#isAbandoned(lease)) {
      throw new OtherNameError(
        `this cluster is called ${holder} by another operator in the namespace ${this.#namespace}, and ${this.#id} by this one; neither would see the other's rollouts. Set KAIROS_CLUSTER_NAME to ${JSON.stringify(holder.replace(/-[0-9a-f]{8}$/, ''))} for watcher and worker; or, to change the name, end all rollouts, stop every watcher of the old name and wait ${DURATION_S} s`,
      );
    }
    try {
      await this.#write(lease);
    } catch (error) {
      // Another watcher was a moment faster: which name did it write?
      if (isReason(error, 'Conflict', 'AlreadyExists')) return await this.hold();
      throw error;
    }
    return holder === this.#id ? undefined : holder;
  }

  #isAbandoned({ spec }: Lease): boolean {
    const record = `${spec?.holderIdentity}/${spec?.renewTime}`;
    const now = performance.now();
    if (record !== this.#seen.record) this.#seen = { record, atMs: now };
    return now - this.#seen.atMs >= (spec?.leaseDurationSeconds ?? DURATION_S) * 1000;
  }

  get #path(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(this.#namespace)}/leases`;
  }

  async #read(): Promise<Lease | undefined> {
    try {
      return await this.#client.request<Lease>({ verb: 'get', path: `${this.#path}/${LEASE}` });
    } catch (error) {
      if (isReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  /** With the version that was read: of two names that are taken at once, one meets a Conflict. */
  async #write(read: Lease | undefined): Promise<void> {
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: this.#id, leaseDurationSeconds: DURATION_S, renewTime };
    if (read === undefined) {
      const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: LEASE }, spec };
      await this.#client.request({ verb: 'create', path: this.#path, body });
      return;
    }
    const body = { metadata: { resourceVersion: read.metadata.resourceVersion }, spec };
    await this.#client.request({ verb: 'merge-patch', path: `${this.#path}/${LEASE}`, body });
  }
}
