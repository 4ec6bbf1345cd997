import { BOOT_ID_ANNOTATION, NODE_NAME_ANNOTATION, STEP_LABEL } from '../api/names.ts';
import { nodeWorkflowID } from '../api/messages.ts';
import { listJobs, type JobView } from '../kube/jobs.ts';
import type { PodView } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';
import type { NodeFacts } from '../policy/uninstall.ts';
import type { WatcherContext } from '../watcher/context.ts';

/** The steps whose pods write an image to the machine. */
const WRITERS: ReadonlySet<string | undefined> = new Set(['upgrade', 'recovery']);

/** What a node's standing is read from. Jobs are listed only where some node is in hand. */
export async function gatherFacts(context: WatcherContext, pods: Reflector<PodView>): Promise<NodeFacts[]> {
  const { client, cluster, namespaces, nodes, kairosNodes } = context;
  const all = [...nodes.values()].map((node) => ({ node, status: kairosNodes.get(node.name)?.status ?? {} }));
  const inHand = all.some(({ node, status }) => node.owner !== undefined || status.inHand !== undefined);
  const jobs = inHand
    ? (await Promise.all(namespaces.map((namespace) => listJobs(client, namespace, STEP_LABEL)))).flat()
    : [];
  const traces = [...jobs.filter(isThere), ...pods.values()];
  return all.map(({ node, status }) => {
    const own = traces.filter(({ annotations }) => annotations[NODE_NAME_ANNOTATION] === node.name);
    const boots = own
      .filter(({ labels }) => labels[STEP_LABEL] === 'upgrade')
      .flatMap(({ annotations }) => annotations[BOOT_ID_ANNOTATION] ?? []);
    return {
      name: node.name,
      mark: nodeWorkflowID(cluster, node),
      ...(node.owner === undefined ? {} : { owner: node.owner }),
      bootID: node.bootID,
      status,
      writtenIn: [...new Set(boots)],
      writing: own.some((trace) => 'containers' in trace && isWriting(trace, node.bootID)),
    };
  });
}

/** A Job that is on its way out, and has no pod any more, writes nothing. */
const isThere = ({ deleting, active }: JobView) => !deleting || active > 0;

/** The pod of an earlier boot is a picture of what was: kubelet corrects it when it is back. */
const isWriting = ({ labels, annotations, containers }: PodView, bootID: string) =>
  WRITERS.has(labels[STEP_LABEL]) &&
  annotations[BOOT_ID_ANNOTATION] === bootID &&
  containers.some(({ running }) => running);
