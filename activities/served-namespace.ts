import { isReason } from '../kube/errors.ts';
import { createPod, type PodView } from '../kube/pods.ts';
import type { NewObject } from '../kube/raw-object.ts';
import type { ClusterView } from './cluster-view.ts';

type Manifest = NewObject & { metadata: { namespace: string } };

/** The operator's own namespace comes first. */
const ownOf = ({ namespaces }: Pick<ClusterView, 'namespaces'>) => namespaces[0];

/**
 * Creates a pod on a node past its point of no return. Where the namespace of its NodeOpUpgrade is being deleted, or our
 * rights there are gone, in the operator's own: the image is on the node, so nothing of that namespace is needed, and the
 * node has to be finished. Idempotent by name, in each of the two.
 */
export async function createPodToFinish(view: ClusterView, pod: Manifest): Promise<PodView> {
  const { namespace } = pod.metadata;
  const own = ownOf(view);
  try {
    return await createPod(view.client, namespace, pod);
  } catch (error) {
    if (own === undefined || own === namespace || !isReason(error, 'Forbidden', 'NotFound')) throw error;
    const metadata: Manifest['metadata'] = { ...pod.metadata, namespace: own };
    return createPod(view.client, own, { ...pod, metadata });
  }
}

/** The pod of this name that the watch shows, in the namespace of the manifest or in the operator's own. */
export function podToFinish(view: ClusterView, { metadata: { namespace, name } }: Manifest): PodView | undefined {
  return view.pods.get(`${namespace}/${name}`) ?? view.pods.get(`${ownOf(view)}/${name}`);
}

/**
 * Whether an object that could not be deleted or written is out of our hands: a namespace that is deleted loses our
 * rights first, and takes everything in it along. In the operator's own namespace missing rights are an error.
 */
export function goesWithItsNamespace(
  view: Pick<ClusterView, 'namespaces'>,
  namespace: string,
  error: unknown,
): boolean {
  return namespace !== ownOf(view) && isReason(error, 'Forbidden');
}
