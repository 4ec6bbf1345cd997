import type { Logger } from 'pino';
import type { ClusterRef } from '../api/messages.ts';
import type { NodeOpUpgrade, Strategy } from '../api/types.ts';
import type { KubeClient } from '../kube/client.ts';
import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import type { LeaseHolder } from '../kube/lease-holder.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { Reflector } from '../kube/reflector.ts';
import type { Closings } from './closings.ts';
import type { Engine } from './engine.ts';

/** What every part of the watcher works with. */
export interface WatcherContext {
  readonly client: KubeClient;
  readonly cluster: ClusterRef;
  /** The operator's own namespace. */
  readonly namespace: string;
  /** Namespaces in which NodeOpUpgrades are carried out. */
  readonly namespaces: readonly string[];
  readonly engine: Engine;
  readonly closings: Closings;
  /** Whether the operator is being uninstalled, and by whom. */
  readonly uninstall: Pick<LeaseHolder, 'now'>;
  /** Defaults of spec.strategy of this installation. */
  readonly defaults: Strategy;
  readonly log: Logger;
  readonly upgrades: Reflector<NodeOpUpgrade>;
  readonly kairosNodes: Reflector<KairosNodeView>;
  readonly nodes: Reflector<NodeView>;
}
