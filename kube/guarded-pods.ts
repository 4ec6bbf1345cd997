import type { KubeClient } from './client.ts';
import { podView } from './pod-view.ts';
import { type Reflector, type ReflectorLog, startReflector } from './reflector.ts';

/** A pod on whose place it depends which node is taken out when. */
export interface GuardedPod {
  namespace: string;
  name: string;
  nodeName: string;
  ready: boolean;
}

/** kubeadm's static etcd pods, by `namespace/name`. */
export const watchEtcdPods = (client: KubeClient, log?: ReflectorLog): Reflector<GuardedPod> =>
  startReflector<GuardedPod>(client, {
    path: '/api/v1/namespaces/kube-system/pods',
    query: { labelSelector: 'component=etcd,tier=control-plane' },
    project: (object) => {
      const { namespace, name, nodeName, ready } = podView(object);
      return { namespace, name, nodeName, ready };
    },
    ...(log && { log }),
  });
