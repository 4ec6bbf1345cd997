import type { RolloutContext } from '../api/messages.ts';
import type { HealthGateSpec } from '../api/rollout-spec.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { unwellNodes } from '../policy/health.ts';
import { rolloutWait } from '../policy/rollout-wait.ts';
import { timeText } from '../policy/window-gate.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { askHealth } from './health-answers.ts';
import { showRolloutWait } from './rollout-waits.ts';
import { waitUntilOpen, type PlaceAnswer } from './wait-until-open.ts';

/** What nobody has asked for as long is forgotten. */
const FORGOTTEN_MS = 3_600_000;
/** Characters of what is not well. */
const LONGEST_REASON = 1000;

interface Answer {
  /** When it came. */
  atMs: number;
  reason: string | undefined;
  /** Since when it is closed, as far as this worker has seen. */
  sinceMs: number;
}

/** The answers of one worker, by what is asked: all nodes of all rollouts that ask the same share them. */
class HealthAnswers {
  readonly #view: ClusterView;
  readonly #answers = new Map<string, Answer>();
  readonly #asking = new Map<string, Promise<void>>();
  /** By what is asked of nodes: after which of their changes that was answered. */
  readonly #answeredAt = new Map<string, number>();
  /** How often a Node has changed, since a gate first asked for that. */
  #changes: number | undefined;

  constructor(view: ClusterView) {
    this.#view = view;
  }

  /** What is known of a gate, and whether that is young enough to go by. Nodes are watched: that is of this moment. */
  known(gate: HealthGateSpec): { answer: Answer | undefined; fresh: boolean } {
    if (gate.nodes !== undefined) this.#lookAtNodes(gate, gate.nodes);
    const answer = this.#answers.get(keyOf(gate));
    const isYoung = answer !== undefined && Date.now() - answer.atMs <= gate.intervalMs;
    return { answer, fresh: answer !== undefined && (gate.nodes !== undefined || isYoung) };
  }

  /** Asks what is too old to go by, once for all who want to know. Never rejects. */
  async refresh(gates: readonly HealthGateSpec[]): Promise<void> {
    const due = gates.filter((gate) => !this.known(gate).fresh);
    await Promise.all(due.map((gate) => this.#ask(gate)));
  }

  /**
   * Goes through the nodes once after each of their changes, though all that wait for the gate are woken by it: in a
   * large cluster all three are many.
   */
  #lookAtNodes(gate: HealthGateSpec, asked: NonNullable<HealthGateSpec['nodes']>): void {
    const { nodes } = this.#view;
    if (this.#changes === undefined) nodes.onChange(() => (this.#changes = (this.#changes ?? 0) + 1));
    this.#changes ??= 0;
    if (this.#answeredAt.get(keyOf(gate)) === this.#changes) return;
    this.#keep(gate, unwellNodes(asked, nodes.values()));
    this.#answeredAt.set(keyOf(gate), this.#changes);
  }

  #ask(gate: HealthGateSpec): Promise<void> {
    const key = keyOf(gate);
    const asking = this.#asking.get(key) ?? this.#askNow(gate).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  async #askNow(gate: HealthGateSpec): Promise<void> {
    this.#keep(gate, await askHealth(this.#view, gate));
  }

  #keep(gate: HealthGateSpec, reason: string | undefined): void {
    const nowMs = Date.now();
    const before = this.#answers.get(keyOf(gate));
    const sinceMs = before?.reason === undefined ? nowMs : before.sinceMs;
    this.#answers.set(keyOf(gate), { atMs: nowMs, reason: reason?.slice(0, LONGEST_REASON), sinceMs });
    for (const [key, { atMs }] of this.#answers)
      if (nowMs - atMs > FORGOTTEN_MS) {
        this.#answers.delete(key);
        this.#answeredAt.delete(key);
      }
  }
}

/** What is asked, without the name under which: two gates that ask the same have one answer. */
const keyOf = ({ nodes, workloads, field, prometheus, intervalMs }: HealthGateSpec) =>
  JSON.stringify([nodes, workloads, field, prometheus, intervalMs]);

const answersBy = new WeakMap<ClusterView, HealthAnswers>();

function answersOf(view: ClusterView): HealthAnswers {
  const known = answersBy.get(view) ?? new HealthAnswers(view);
  answersBy.set(view, known);
  return known;
}

/** Asks the health gates of a rollout whose answers are too old. Never rejects; takes some seconds at most. */
export async function refreshHealth(view: ClusterView, { spec }: RolloutContext): Promise<void> {
  if (spec.healthGates !== undefined) await answersOf(view).refresh(spec.healthGates);
}

/** The gate `Health`, by the answers that are known: the first that is closed, or is to be asked anew, is named. */
export function closedHealth(view: ClusterView, { spec }: RolloutContext): ClosedGate | undefined {
  const answers = answersOf(view);
  for (const gate of spec.healthGates ?? []) {
    const { answer, fresh } = answers.known(gate);
    if (fresh && answer?.reason === undefined) continue;
    const said =
      answer?.reason === undefined ? 'being asked' : `${answer.reason}; seen since ${timeText(answer.sinceMs)}`;
    const deadline = gate.timeoutMs === undefined ? {} : { deadline: { of: gate.name, ms: gate.timeoutMs } };
    return { gate: 'Health', reason: `health gate ${gate.name}: ${said}`, ...deadline };
  }
  return undefined;
}

/**
 * Waits after a wave until all health gates are open. Its deadline is that of the gate which is closed. What it waits for
 * is in its heartbeats and in `status.rollout`. Changes nothing: it may be repeated.
 */
export async function waitForHealth(
  view: ClusterView,
  context: RolloutContext & { wave: string },
): Promise<PlaceAnswer> {
  assertCluster(view, context.cluster);
  const closed = () => closedHealth(view, context);
  await refreshHealth(view, context);
  try {
    return await waitUntilOpen(
      view,
      context,
      closed,
      (reason) => ({ reason: `after wave ${context.wave}: ${reason}` }),
      async () => {
        await refreshHealth(view, context);
        void showRolloutWait(view, context, rolloutWait(closed()));
      },
    );
  } finally {
    await showRolloutWait(view, context, undefined);
  }
}
