import type { NodeOpUpgradeSpec, Step } from '../../api/types.ts';
import { HELD_PREFIX, OWNER_ANNOTATION } from '../../api/names.ts';
import { OLD, type Stage } from '../e2e/stage.ts';
import type { AskedWrite, HoldingProxy } from './holding-proxy.ts';

export interface Theatre {
  readonly stage: Stage;
  readonly proxy: HoldingProxy;
}

/** A node that is kept at a step. */
export interface Kept {
  /** Resolves when the node is at the step. */
  readonly reached: Promise<unknown>;
  /** Lets what the step asks for happen, but its answer is kept back. */
  carryOut?(): Promise<unknown>;
  /** Lets it go on. */
  release(): unknown;
}

export interface StepOfUpgrade {
  readonly step: Step;
  readonly spec?: Partial<NodeOpUpgradeSpec>;
  /** Asked before the upgrade of the node begins. */
  keep(theatre: Theatre, node: string): Kept | Promise<Kept>;
  /** What of its own can go wrong in it, in words, and how it is made to: asked before the upgrade begins. */
  readonly failure: {
    readonly what: string;
    readonly spec?: Partial<NodeOpUpgradeSpec>;
    arrange(theatre: Theatre, node: string): unknown;
  };
}

/** The steps of eleven nodes at once, on a machine that does other things besides. */
export const REACHED_WITHIN_MS = 150_000;
const FAILS = 'no space left on device';
/** One that no other upgrade takes. */
export const BAD_IMAGE = 'quay.io/kairos/hadron:v4.1.0';
const UNKNOWN_IMAGE = 'quay.io/kairos/not-there:v1';

const created =
  (kind: 'pods' | 'jobs', prefix: string, node: string) =>
  ({ method, path, body }: AskedWrite): boolean => {
    const pod = kind === 'jobs' ? body.spec?.template?.spec : body.spec;
    return (
      method === 'POST' &&
      path.endsWith(`/${kind}`) &&
      body.metadata?.name?.startsWith(prefix) === true &&
      pod?.nodeName === node
    );
  };

const nodeWritten =
  (node: string, holds: (body: AskedWrite['body']) => boolean) =>
  ({ method, path, body }: AskedWrite): boolean =>
    method === 'PATCH' && path === `/api/v1/nodes/${node}` && holds(body);

const shown =
  (node: string, step: Step) =>
  ({ path, body }: AskedWrite): boolean =>
    path === `/apis/kairos.io/v1alpha1/kairosnodes/${node}/status` && body.status?.step === step;

const ownerIn = ({ metadata }: AskedWrite['body']) => metadata?.annotations?.[OWNER_ANNOTATION];
const marks = (body: AskedWrite['body']) => {
  const owner = ownerIn(body);
  return typeof owner === 'string' && !owner.startsWith(HELD_PREFIX);
};
const givesBack = (body: AskedWrite['body']) => ownerIn(body) === null;
const cordons = ({ spec }: AskedWrite['body']) => spec?.unschedulable === true;

const withoutAnswer = ({ proxy }: Theatre, matches: (write: AskedWrite) => boolean): Kept => proxy.hold(matches);

const atStep = ({ stage }: Theatre, node: string, step: Step) =>
  stage.until(
    `${node} is at ${step}`,
    () => stage.kairosNode(node).status.step,
    (now) => now === step,
    REACHED_WITHIN_MS,
  );

/** At every one of them whatever befalls an upgrade may befall it. */
export const STEPS_OF_UPGRADE: readonly StepOfUpgrade[] = [
  {
    step: 'PrePull',
    keep: (theatre, node) => withoutAnswer(theatre, created('pods', 'kairos-pull', node)),
    failure: {
      what: 'image unknown',
      spec: { image: UNKNOWN_IMAGE, strategy: { prePull: { timeout: '5s' } } },
      arrange: () => undefined,
    },
  },
  {
    step: 'Gate',
    // As long as it takes the others to be at their steps, and the API server to be back.
    spec: { strategy: { gateTimeout: '5m' } },
    async keep(theatre, node) {
      const { stage } = theatre;
      await stage.kubectl('cordon', node);
      // Where the node is gone there is nothing to uncordon.
      return {
        reached: waitsAtGate(theatre, node),
        release: () => stage.kubectl('uncordon', node).catch(() => undefined),
      };
    },
    failure: {
      what: 'cordoned by a person',
      spec: { strategy: { gateTimeout: '4s' } },
      arrange: ({ stage }, node) => stage.kubectl('cordon', node),
    },
  },
  {
    step: 'Mark',
    keep: (theatre, node) => withoutAnswer(theatre, nodeWritten(node, marks)),
    failure: {
      what: 'API server refuses it 3 times',
      arrange: ({ proxy }, node) => proxy.refuse(nodeWritten(node, marks), 3),
    },
  },
  {
    step: 'Cordon',
    keep: (theatre, node) => withoutAnswer(theatre, nodeWritten(node, cordons)),
    failure: { what: 'spec held by a person', arrange: ({ stage }, node) => holdSpec(stage, node) },
  },
  {
    step: 'Drain',
    async keep({ stage }, node) {
      const release = await stage.holdDrain(node);
      const message = () => stage.kairosNode(node).status.message ?? '';
      const isHeld = (text: string) => text.includes(`held-on-${node}`);
      return { reached: stage.until(`the drain of ${node} is held`, message, isHeld, REACHED_WITHIN_MS), release };
    },
    failure: {
      what: 'a budget forbids it',
      spec: { strategy: { drain: { timeout: '4s' } } },
      arrange: ({ stage }, node) => stage.holdDrain(node),
    },
  },
  {
    step: 'Upgrade',
    keep: (theatre, node) => withoutAnswer(theatre, created('jobs', 'kairos-upgrade', node)),
    failure: {
      what: 'the agent fails',
      arrange: ({ stage }, node) => Object.assign(stage.cluster.machine(node).faults, { upgradeFails: FAILS }),
    },
  },
  {
    step: 'Reboot',
    keep: (theatre, node) => withoutAnswer(theatre, created('pods', 'kairos-reboot', node)),
    failure: {
      what: 'it does not reboot',
      spec: { strategy: { reboot: { timeout: '9s' } } },
      arrange: ({ stage }, node) => Object.assign(stage.cluster.machine(node).faults, { reboot: 'ignored' }),
    },
  },
  {
    step: 'Verify',
    keep: (theatre, node) => withoutAnswer(theatre, shown(node, 'Verify')),
    failure: {
      what: 'the image does not boot',
      spec: { image: BAD_IMAGE },
      arrange: ({ stage }) => stage.cluster.makeImageBad(BAD_IMAGE),
    },
  },
  {
    step: 'Soak',
    spec: { strategy: { soak: '8s' } },
    keep: (theatre, node) => ({ reached: atStep(theatre, node, 'Soak'), release: () => undefined }),
    failure: {
      what: 'it goes down and stays so',
      spec: { strategy: { soak: '20s', reboot: { timeout: '9s' } } },
      arrange: (theatre, node) => void atStep(theatre, node, 'Soak').then(() => theatre.stage.cluster.holdDown(node)),
    },
  },
  {
    step: 'Uncordon',
    keep: (theatre, node) => withoutAnswer(theatre, nodeWritten(node, givesBack)),
    failure: {
      what: 'API server refuses it 3 times',
      arrange: ({ proxy }, node) => proxy.refuse(nodeWritten(node, givesBack), 3),
    },
  },
  {
    step: 'Recovery',
    spec: { upgradeRecovery: true },
    keep: (theatre, node) => withoutAnswer(theatre, created('jobs', 'kairos-recovery', node)),
    failure: {
      what: 'the agent fails',
      spec: { upgradeRecovery: true },
      arrange: (theatre, node) =>
        void atStep(theatre, node, 'Soak').then(() =>
          Object.assign(theatre.stage.cluster.machine(node).faults, { upgradeFails: FAILS }),
        ),
    },
  },
];

async function waitsAtGate({ stage }: Theatre, node: string): Promise<void> {
  const says = () => stage.kairosNode(node).status;
  await stage.until(
    `${node} waits at a gate`,
    says,
    ({ step, message }) => step === 'Gate' && message !== undefined,
    REACHED_WITHIN_MS,
  );
}

/** A person says by hand that the node should run what it runs, and holds that field. */
async function holdSpec(stage: Stage, node: string): Promise<void> {
  const body = { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', metadata: { name: node }, spec: { image: OLD } };
  const path = `/apis/kairos.io/v1alpha1/kairosnodes/${node}`;
  await stage.client.request({ verb: 'apply', path, body, fieldManager: 'kubectl-edit' });
}
