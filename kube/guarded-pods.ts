import { HOST_LAST_LABEL } from '../api/names.ts';
import type { KubeClient } from './client.ts';
import { podView } from './pod-view.ts';
import { type Reflector, type ReflectorLog, startReflector } from './reflector.ts';

/** The operator's own pods, but for its agents, which are everywhere, and for those that work on a node. */
const OPERATOR =
  'app.kubernetes.io/part-of=kairos-operator,app.kubernetes.io/name!=kairos-agent,!kairos.io/upgrade-step';
/** Temporal by its own chart, as the chart of the operator labels it. */
const TEMPORAL = 'kairos.io/part-of=kairos-operator';
/** What somebody else labels, such as the database of a Temporal of their own. */
const LABELLED = `${HOST_LAST_LABEL}=true`;

/** A pod on whose place it depends which node is taken out when. */
export interface GuardedPod {
  namespace: string;
  name: string;
  nodeName: string;
  ready: boolean;
  /** It runs there, or will: not ended, and not of a DaemonSet, which is everywhere. */
  stays: boolean;
}

/** kubeadm's static etcd pods, by `namespace/name`. */
export const watchEtcdPods = (client: KubeClient, log?: ReflectorLog): Reflector<GuardedPod> =>
  watchGuarded(client, '/api/v1/namespaces/kube-system/pods', 'component=etcd,tier=control-plane', log);

/**
 * The pods without which a rollout stands still: the operator's, Temporal's and its database's, and those that carry the
 * label `kairos.io/host-last: "true"`. One watch for each way in which they are known: selectors know no "or".
 */
export const watchHostedPods = (client: KubeClient, log?: ReflectorLog): Reflector<GuardedPod>[] =>
  [OPERATOR, TEMPORAL, LABELLED].map((selector) => watchGuarded(client, '/api/v1/pods', selector, log));

const watchGuarded = (client: KubeClient, path: string, labelSelector: string, log?: ReflectorLog) =>
  startReflector<GuardedPod>(client, {
    path,
    query: { labelSelector },
    project: (object) => {
      const { namespace, name, nodeName, ready, phase, ownerKind } = podView(object);
      const stays = nodeName !== '' && ownerKind !== 'DaemonSet' && phase !== 'Succeeded' && phase !== 'Failed';
      return { namespace, name, nodeName, ready, stays };
    },
    ...(log && { log }),
  });
