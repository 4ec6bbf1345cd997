import { Context } from '@temporalio/activity';
import type { Activities } from '../../activities/index.ts';
import type { NodeRef, RolloutRequest, Target } from '../../api/messages.ts';

type Name = keyof Activities;
type Input<A extends Name> = Parameters<Activities[A]>[0];
type Answer<A extends Name> = Awaited<ReturnType<Activities[A]>>;
export type Answers = { [A in Name]?: (input: Input<A>) => Answer<A> | Promise<Answer<A>> };

/** One call of an activity, in the order in which the calls came. */
export interface Call {
  activity: Name;
  /** The node that it was for; undefined where it was for the whole rollout. */
  node: string | undefined;
  input: unknown;
}

/** What the steps of one rollout answer, and which of them were called. */
export class Script {
  readonly calls: Call[] = [];
  readonly answers: Answers;
  /** Comes between a call and its answer: what takes time, or fails before there is an answer. */
  readonly before: (call: Call) => void | Promise<void>;

  constructor(answers: Answers = {}, before: Script['before'] = () => undefined) {
    this.answers = answers;
    this.before = before;
  }

  /** The inputs of an activity, in order. */
  inputs<A extends Name>(activity: A): Input<A>[] {
    return this.calls.filter((call) => call.activity === activity).map((call) => call.input as Input<A>);
  }

  /** The nodes that an activity was called for, in order. */
  nodes(activity: Name): (string | undefined)[] {
    return this.calls.filter((call) => call.activity === activity).map((call) => call.node);
  }

  /** The activities that were called for a node, in order, without the pre-pull and what decides about its turn. */
  steps(node: string): Name[] {
    return this.calls
      .filter((call) => call.node === node && call.activity !== 'prePullImage' && call.activity !== 'readHosting')
      .map((call) => call.activity);
  }

  /** How each node ended: its verdicts in the order of the endNode calls. */
  ends(): string[] {
    return this.inputs('endNode').map(({ hand, verdict }) => `${hand.node.name} ${verdict}`);
  }
}

export const targetOf = (image: string): Target => ({
  image,
  pinned: `${image}@sha256:1`,
  digest: 'sha256:1',
  architecture: 'amd64',
  version: 'v2',
  fields: {},
});

/** The steps of an upgrade on which nothing goes wrong, without a cluster. */
const smooth: Activities = {
  answerCheck: async () => ({ nodes: 0, kairosNodes: 0 }),
  confirmRequest: async () => ({ current: true, reason: '' }),
  planRollout: async () => ({ controlPlane: [], workers: [], leftAlone: [], maxUnavailable: 1 }),
  findJoined: async () => ({ controlPlane: [], workers: [] }),
  reportRollout: async () => undefined,
  removePulls: async () => undefined,
  prePullImage: async ({ spec }) => targetOf(spec.image),
  waitForPlace: async () => ({ open: true }),
  waitForControlPlane: async () => ({ open: true }),
  readHosting: async () => ({ pods: [] }),
  waitForHealth: async () => ({ open: true }),
  checkGates: async () => ({ answer: 'Go', bootID: 'boot-1', from: 'v1' }),
  markNode: async () => ({ outcome: 'Marked' }),
  cordonNode: async () => ({ notReadyBefore: [] }),
  drainNode: async () => ({ outcome: 'Drained' }),
  writeImage: async () => ({ outcome: 'Written' }),
  rebootNode: async () => ({ outcome: 'BootChanged' }),
  verifyNode: async () => ({ verdict: 'Succeeded', message: 'runs v2', bootID: 'boot-2' }),
  soakNode: async () => ({ outcome: 'Steady' }),
  endNode: async ({ hand, verdict, message }) => ({ node: hand.node.name, outcome: 'Ended', verdict, message }),
  settleNode: async () => undefined,
  readLateVerdicts: async () => [],
  soakWave: async () => ({ open: true }),
  settleWave: async ({ nodes }) => ({ verdicts: {}, failed: [], untouched: nodes.length }),
};

/**
 * Activities for a worker that serves many rollouts: each call is recorded in the script of its request, by name, and
 * answered by it; what a script says nothing about goes smoothly.
 */
export function stubActivities(scripts: { get(request: string): Script | undefined }): Activities {
  const stub =
    <A extends Name>(activity: A, fallback: (input: Input<A>) => Promise<Answer<A>>) =>
    async (input: Input<A>): Promise<Answer<A>> => {
      const { request, node } = subject(input);
      const script = scripts.get(request.name);
      if (script === undefined) throw new Error(`no script for request ${request.name}`);
      const call: Call = { activity, node: node?.name, input };
      script.calls.push(call);
      await script.before(call);
      const answer: ((given: Input<A>) => Answer<A> | Promise<Answer<A>>) | undefined = script.answers[activity];
      return answer === undefined ? fallback(input) : answer(input);
    };
  const stubbed = Object.entries(smooth).map(([name, answer]) => [name, stub(name as Name, answer as never)]);
  return Object.fromEntries(stubbed) as Activities;
}

interface Subject {
  request: RolloutRequest;
  node?: NodeRef;
}

/** Steps take the context itself, or an object that holds it as `hand` or `context`. */
function subject(input: unknown): Subject {
  const { hand, context, ...plain } = input as Subject & { hand?: Subject; context?: Subject };
  return hand ?? context ?? plain;
}

/** Something that an answer waits for until the test opens it. */
export class Gate {
  readonly #opened = Promise.withResolvers<void>();
  open = (): void => this.#opened.resolve();

  /** Heartbeats meanwhile, and ends with the cancellation when the workflow cancels, as the real waits do. */
  async wait(): Promise<void> {
    const context = Context.current();
    const beat = setInterval(() => context.heartbeat(), 50);
    try {
      await Promise.race([this.#opened.promise, context.cancelled]);
    } finally {
      clearInterval(beat);
    }
  }
}
