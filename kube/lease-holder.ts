import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';

interface LeaseObject {
  metadata: { uid: string };
  spec?: { holderIdentity?: string | null; renewTime?: string | null; leaseDurationSeconds?: number };
}

/**
 * Who holds a Lease that is somebody else's. Clocks of machines are not compared: a holder is taken for dead when its
 * record has not changed for its duration of our own clock, so that the first look at a stale one still answers it.
 */
export class LeaseHolder {
  readonly #client: KubeClient;
  readonly #path: string;
  #seen = { record: '', atMs: 0 };

  constructor(client: KubeClient, namespace: string, name: string) {
    this.#client = client;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases/${encodeURIComponent(name)}`;
  }

  /** Read live. Undefined when nobody holds it. Rejects when the API server does not answer. */
  async now(): Promise<string | undefined> {
    const lease = await this.#read();
    const { holderIdentity, renewTime, leaseDurationSeconds = 0 } = lease?.spec ?? {};
    if (!holderIdentity) return undefined;
    const record = `${lease?.metadata.uid}/${holderIdentity}/${renewTime}`;
    const now = performance.now();
    if (record !== this.#seen.record) this.#seen = { record, atMs: now };
    return now - this.#seen.atMs < leaseDurationSeconds * 1000 ? holderIdentity : undefined;
  }

  async #read(): Promise<LeaseObject | undefined> {
    try {
      return await this.#client.request<LeaseObject>({ verb: 'get', path: this.#path });
    } catch (error) {
      if (isReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }
}
