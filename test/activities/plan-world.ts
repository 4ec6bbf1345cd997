import type { ClusterView } from '../../activities/cluster-view.ts';
import { reportPlan } from '../../activities/plan-report.ts';
import type { PlanContext, RolloutContext } from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import type { KairosNodeStatus, NodeOpUpgrade, NodeOpUpgradeSpec } from '../../api/types.ts';
import { errorFromAnswer } from '../../kube/errors.ts';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { OutNode } from '../../policy/budget.ts';
import { resolveSpec } from '../../policy/strategy.ts';

/** What is planned. */
export const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const OLD = {
  KAIROS_VERSION: 'v4.0.2',
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
};
/** What is inside it, as release fields. */
export const NEW = { ...OLD, KAIROS_VERSION: 'v4.0.3' };
const signal = new AbortController().signal;

interface Request {
  verb: string;
  path: string;
  body?: { deleteOptions?: { dryRun?: string[] }; status?: { plan?: Record<string, unknown> } };
}

/** An API server of a few answers, and the watches of a worker. */
export class PlanWorld {
  readonly requests: Request[] = [];
  pods: object[] = [];
  volumes: object[] = [];
  evictionOf: (pod: string) => { code: number; body: unknown } | undefined = () => undefined;
  refuses: (path: string) => { code: number; body: unknown } | undefined = () => undefined;
  readonly nodes = Object.assign(new Map<string, NodeView>(), { onChange: () => () => undefined });
  readonly kairosNodes = new Map<string, KairosNodeView>();
  readonly upgrades = new Map<string, NodeOpUpgrade>();
  /** Nodes that are out, by name. */
  readonly outages = new Map<string, OutNode>();

  node(name: string, more: Partial<NodeView> = {}, report: KairosNodeStatus = {}): this {
    const controlPlane = name.startsWith('cp');
    const known = { uid: `uid-${name}`, bootID: 'b', ready: true, unschedulable: false, labels: {}, pressures: [] };
    const machine = { architecture: 'amd64', kubeletVersion: 'v1.33.9+k3s1', controlPlane };
    this.nodes.set(name, { name, ...known, ...machine, ...more } as NodeView);
    const status = { bootID: 'b', bootState: 'active' as const, release: OLD, ...report };
    this.kairosNodes.set(name, { name, spec: {}, status } as unknown as KairosNodeView);
    return this;
  }

  pod(name: string, nodeName: string, owner: string, more: object = {}): this {
    const ownerReferences = [{ kind: 'ReplicaSet', name: owner, uid: owner, controller: true }];
    const metadata = { name, namespace: 'shop', uid: name, ...(owner === '' ? {} : { ownerReferences }) };
    const conditions = [{ type: 'Ready', status: 'True' }];
    this.pods.push({ metadata, spec: { nodeName, ...more }, status: { phase: 'Running', conditions } });
    return this;
  }

  report(spec: Partial<NodeOpUpgradeSpec> = {}, nodes = [...this.nodes.values()], context: Partial<PlanContext> = {}) {
    const client = { request: (request: Request) => this.#answer(request) };
    const { kairosNodes, outages, upgrades } = this;
    const empty = new Map<string, never>();
    const parts = { client, nodes: this.nodes, kairosNodes, pods: empty, outages, etcdPods: empty, upgrades };
    const view = parts as unknown as ClusterView;
    const of = (controlPlane: boolean) =>
      nodes.filter((node) => node.controlPlane === controlPlane).map(({ name, uid }) => ({ name, uid }));
    const plan: Plan = { controlPlane: of(true), workers: of(false), leftAlone: [], maxUnavailable: 1 };
    return reportPlan(view, { ...contextOf(spec), ...context }, plan, signal);
  }

  get evictions(): string[] {
    return this.requests
      .filter(({ path }) => path.endsWith('/eviction'))
      .map(({ path }) => path.split('/').at(-2) ?? '');
  }

  async #answer(request: Request): Promise<unknown> {
    await Promise.resolve();
    const { verb, path } = request;
    this.requests.push(request);
    const refused = path.endsWith('/eviction') ? this.evictionOf(path.split('/').at(-2) ?? '') : this.refuses(path);
    if (refused !== undefined) throw errorFromAnswer({ verb, path }, refused);
    const list = (items: object[]) => ({ metadata: { resourceVersion: '1' }, items });
    if (path === '/api/v1/pods') return list(this.pods);
    if (path === '/api/v1/persistentvolumes') return list(this.volumes);
    if (path === '/version') return { gitVersion: 'v1.33.9+k3s1' };
    if (path.includes('poddisruptionbudgets'))
      return { status: { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 } };
    return { metadata: {} };
  }
}

const contextOf = (spec: Partial<NodeOpUpgradeSpec>): RolloutContext => ({
  cluster: { uid: 'c', id: 'kairos-c' },
  rolloutID: 'rollout/kairos-c/ns/v4',
  request: { kind: 'NodeOpUpgrade', namespace: 'ns', name: 'v4', uid: 'u', generation: 1, attempt: 1 },
  spec: resolveSpec({ image: IMAGE, ...spec }),
});
