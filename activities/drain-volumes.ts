import type { KubeClient } from '../kube/client.ts';
import type { PodView } from '../kube/pods.ts';
import { type Attachment, listAttachments, readVolumeOfClaim, untilDetached } from '../kube/volumes.ts';

/** The claims of a pod, by the PersistentVolume that each is bound to. */
type ClaimsByVolume = Record<string, string>;

/** Volumes of the pods that a drain moved: what is still attached when they are gone is waited for. */
export class DrainVolumes {
  readonly #client: KubeClient;
  readonly #node: string;
  readonly #claims: Map<string, string>;
  /** UIDs of pods whose claims are known. */
  readonly #read = new Set<string>();

  /** `known`: what an earlier attempt of the drain had found. */
  constructor(client: KubeClient, node: string, known: ClaimsByVolume) {
    this.#client = client;
    this.#node = node;
    this.#claims = new Map(Object.entries(known));
  }

  /** For the next attempt, should this one be cut off: by then the pods are gone. */
  get known(): ClaimsByVolume {
    return Object.fromEntries(this.#claims);
  }

  /** To be called while the pod is there: a claim of an ephemeral volume goes with its pod. */
  async add(pod: PodView): Promise<void> {
    if (this.#read.has(pod.uid)) return;
    for (const [volume, claim] of Object.entries(await this.#volumesOf(pod))) this.#claims.set(volume, claim);
    this.#read.add(pod.uid);
  }

  /**
   * What is attached to the node and was used by the pods that were moved, but by none of those that stay; by claim.
   * Reads nothing where no moved pod had a volume.
   */
  async attached(staying: Iterable<PodView>, signal: AbortSignal): Promise<(Attachment & { claim: string })[]> {
    if (this.#claims.size === 0) return [];
    const used = new Set<string>();
    for (const pod of staying) for (const volume of Object.keys(await this.#volumesOf(pod))) used.add(volume);
    const attachments = await listAttachments(this.#client, this.#node, signal);
    return attachments.flatMap((attachment) => {
      const claim = this.#claims.get(attachment.volume);
      return claim === undefined || used.has(attachment.volume) ? [] : [{ ...attachment, claim }];
    });
  }

  /** Resolves when they are all detached; tells each as it goes. */
  async untilDetached(
    attachments: readonly (Attachment & { claim: string })[],
    tell: (attachment: Attachment & { claim: string }) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await Promise.all(
      attachments.map(async (attachment) => {
        await untilDetached(this.#client, attachment.name, signal);
        tell(attachment);
      }),
    );
  }

  async #volumesOf({ namespace, volumesClaims }: PodView): Promise<ClaimsByVolume> {
    const found: ClaimsByVolume = {};
    for (const claim of volumesClaims) {
      const volume = await readVolumeOfClaim(this.#client, namespace, claim);
      if (volume !== undefined) found[volume] = `${namespace}/${claim}`;
    }
    return found;
  }
}
