import type { FailedNode, WaveResult } from '../api/messages.ts';
import type { Asked, ControlAnswer, ControlState } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import { askedText } from '../policy/asked.ts';
import { SEGMENT_NODES } from '../policy/waves.ts';
import type { KnownWaves } from './known-waves.ts';
import { retryNodesSignal, skipNodeSignal } from './messages.ts';
import { later, listed, namesIn, no, textOf, unknownNode, yes } from './request-texts.ts';
import type { RolloutRecord } from './rollout-record.ts';

/** So many nodes can be left out of one rollout by name, and named at once: the resource lists each of them. */
const SKIPPED = 100;

/** What people ask about single nodes of a rollout: to leave them out, and to try them again. */
export class NodeRequests {
  private readonly state: ControlState;
  private readonly record: RolloutRecord;
  private readonly waves: KnownWaves;
  /** Why nothing can be asked any more, or undefined. */
  private readonly closed: (what: 'skip' | 'retry') => string | undefined;
  /** Who had left out nodes of the wave that runs which are to be tried again. */
  private readonly takenBack = new Map<string, Asked>();
  /** How the nodes of the wave of retries had ended before. */
  private before: { failed: FailedNode[]; leftOut: ControlState['skipped'] } = { failed: [], leftOut: [] };

  constructor(record: RolloutRecord, state: ControlState, waves: KnownWaves, closed: NodeRequests['closed']) {
    this.record = record;
    this.state = state;
    this.waves = waves;
    this.closed = closed;
  }

  /** Which nodes of a wave that is about to start are to be left out. */
  leftOutOf({ nodes }: PlannedWave): Record<string, Asked> {
    const names = new Set(nodes.map(({ name }) => name));
    return Object.fromEntries(Object.entries(this.state.skips).filter(([name]) => names.has(name)));
  }

  /**
   * A wave is over, with this result where it had one. What was to be left out of it was, or has ended. Nodes that it
   * was to try again and did not are what they were; without a result that is all of them.
   */
  over(planned: PlannedWave, result: WaveResult | undefined): void {
    const { skipped, left, failed = [], again = [] } = result ?? { left: planned.nodes.map(({ name }) => name) };
    if (planned.try !== undefined) this.putBack(left ?? []);
    // One that was taken back, too: left out until it is tried again.
    for (const name of [...(skipped ?? []), ...again.filter((one) => one.skipped).map((one) => one.name)]) {
      const asked = this.state.skips[name] ?? this.takenBack.get(name);
      if (asked !== undefined) this.state.skipped.push({ name, ...asked });
    }
    this.takenBack.clear();
    const retriable = new Set([...failed, ...again].map(({ name }) => name).concat(skipped ?? []));
    const { group, budget } = planned;
    for (const node of planned.nodes) {
      delete this.state.skips[node.name];
      if (retriable.has(node.name)) this.state.ended[node.name] = { node, group, budget };
    }
  }

  private putBack(left: readonly string[]): void {
    const { failed, leftOut } = this.before;
    this.record.putBack(failed.filter(({ name }) => left.includes(name)));
    for (const one of leftOut.filter(({ name }) => left.includes(name))) {
      this.state.skipped.push(one);
      if (!failed.some(({ name }) => name === one.name)) this.record.countUp('Skipped');
    }
  }

  /**
   * The wave of the nodes that are to be tried again; those of the control plane first, by the rules of that. They are
   * failures no more until it has ended.
   */
  nextRetry(): PlannedWave {
    const { state, record } = this;
    const isFirst = state.retries.some((one) => one.group === 'control-plane');
    const group = isFirst ? 'control-plane' : 'worker';
    const retries = state.retries.filter((one) => one.group === group);
    const nodes = retries.map(({ node }) => node);
    const budget = Math.min(...retries.map((one) => one.budget));
    state.tries += 1;
    const names = new Set(nodes.map(({ name }) => name));
    const leftOut = state.skipped.filter(({ name }) => names.has(name));
    this.before = { failed: record.takeBack(names), leftOut };
    for (const { name } of leftOut) {
      state.skipped = state.skipped.filter((one) => one.name !== name);
      // One that its wave handed back is among the failed ones.
      if (!this.before.failed.some((one) => one.name === name)) record.countDown('Skipped');
    }
    state.retries = state.retries.filter((one) => one.group !== group);
    // No wave that a person names has a dot in its name.
    const planned: PlannedWave = { name: `retry.${state.tries}`, group, nodes, budget, try: state.tries };
    if (nodes.length > SEGMENT_NODES) planned.segment = SEGMENT_NODES;
    this.waves.joins(planned);
    return planned;
  }

  /** Nodes that a wave handed back: tried again when it is over. */
  handedBack({ nodes, group, budget }: PlannedWave, names: readonly string[]): void {
    for (const node of nodes)
      if (names.includes(node.name) && !this.isRetried(node.name)) this.state.retries.push({ node, group, budget });
  }

  /** Why these names are none of this rollout, or undefined. Asked before anything is done for any of them. */
  refuseNames(text: string): string | undefined {
    const names = namesIn(text);
    const { nodes } = this.waves;
    if (names.length === 0)
      return `name the nodes, as in {"node": "${nodes[0]?.name ?? 'worker-1'}"}: ${listed(nodes.map(({ name }) => name))}`;
    if (names.length > SKIPPED)
      return `name at most ${SKIPPED} nodes at once: these are ${names.length}, and nothing was done`;
    const unknown = names.find((name) => !this.waves.has(name));
    return unknown === undefined ? undefined : unknownNode(unknown, nodes);
  }

  /** Why these nodes cannot be left out, or undefined: with one too many none of them is. */
  refuseSkips(text: string): string | undefined {
    const refused = this.refuseNames(text);
    if (refused !== undefined) return refused;
    const leftOut = this.leftOut();
    const more = namesIn(text).filter((name) => !leftOut.has(name) && !this.isRetried(name)).length;
    if (leftOut.size + more <= SKIPPED) return undefined;
    return `at most ${SKIPPED} nodes can be left out by name, and ${leftOut.size} are already: none of these ${more} is left out; to leave more out, label them and edit spec.nodeSelector, which starts the next attempt`;
  }

  private leftOut(): Set<string> {
    const { skips, skipped } = this.state;
    return new Set([...Object.keys(skips), ...skipped.map(({ name }) => name)]);
  }

  skipAll = (text: string, asked: Asked) => this.each(text, (name) => this.skip(name, asked));

  retryNamed = (node: unknown) => (isAll(node) ? this.retryAll() : this.each(textOf(node), (name) => this.retry(name)));

  /** One answer for several nodes: accepted where each of them was. Refusals come first, as a long answer is cut. */
  private async each(text: string, act: (name: string) => Promise<ControlAnswer>): Promise<ControlAnswer> {
    const answers = await Promise.all(namesIn(text).map(act));
    const refusedFirst = answers.toSorted((one, other) => Number(one.accepted) - Number(other.accepted));
    const message = refusedFirst.map((answer) => answer.message).join('; ');
    const refused = answers.filter(({ accepted }) => !accepted);
    if (refused.length === 0) return yes(message);
    return refused.every(({ next }) => next === true) ? later(message) : no(message);
  }

  private async skip(name: string, asked: Asked): Promise<ControlAnswer> {
    const { state } = this;
    const { planned, at } = this.waves.waveOf(name);
    if (this.isRetried(name)) {
      state.retries = state.retries.filter(({ node }) => node.name !== name);
      return yes(`node ${name} is not tried again`);
    }
    if (at === 'Over') return no(`node ${name} has ended: wave ${planned.name} is over`);
    const known = state.skips[name];
    if (known !== undefined) return yes(`node ${name} is left out already, by ${askedText(known)}`);
    state.skips[name] = asked;
    if (at === 'Ahead') return yes(`node ${name} is left out: it is not touched when wave ${planned.name} begins`);
    const answer = await this.waves.ask(planned, (handle, token) =>
      handle.signal(skipNodeSignal, { token, node: name, asked }),
    );
    if (answer?.accepted === false) delete state.skips[name];
    if (answer !== undefined) return answer;
    return state.skipped.some((one) => one.name === name)
      ? yes(`node ${name} is left out`)
      : no(this.closed('skip') ?? `node ${name} has ended: wave ${planned.name} is over`);
  }

  private isRetried = (name: string) => this.state.retries.some(({ node }) => node.name === name);

  private async retry(name: string): Promise<ControlAnswer> {
    const { state, record } = this;
    const { planned, node, at } = this.waves.waveOf(name);
    if (this.isRetried(name)) return yes(`node ${name} is to be tried again already`);
    if (at === 'Running') return this.retryInWave(planned, [name]);
    if (at === 'Ahead') {
      if (state.skips[name] === undefined) return no(`node ${name} has not been begun: it is upgraded in its turn`);
      delete state.skips[name];
      return yes(`node ${name} is not left out any more: it is upgraded in its turn`);
    }
    if (!record.failed.some((one) => one.name === name) && !state.skipped.some((one) => one.name === name))
      return no(
        record.failures > record.failed.length
          ? `node ${name} is not among the ${record.failed.length} failed nodes that are known by name: when the rollout has ended, kairos.io/retry tries all of them again`
          : `node ${name} has not failed: there is nothing to try again`,
      );
    state.retries.push({ node, group: planned.group, budget: planned.budget });
    return yes(`node ${name} is tried again before any further wave`);
  }

  private takeBack(name: string): void {
    const asked = this.state.skips[name];
    if (asked !== undefined) this.takenBack.set(name, asked);
    delete this.state.skips[name];
  }

  private async retryAll(): Promise<ControlAnswer> {
    const { record, waves } = this;
    const { running } = waves;
    const failed = record.failed.map(({ name }) => name).filter((name) => !this.isRetried(name));
    const before = await Promise.all(failed.map((name) => this.retry(name)));
    const inWave = running === undefined ? undefined : await this.retryInWave(running, undefined);
    const done = before.filter(({ accepted }) => accepted).length;
    if (done === 0) return inWave ?? no('no node of this rollout has failed so far');
    const these = `tried again before any further wave: ${listed(failed)}`;
    return yes(inWave?.accepted === true ? `${these}; ${inWave.message}` : these);
  }

  private async retryInWave(planned: PlannedWave, nodes: string[] | undefined): Promise<ControlAnswer> {
    const answer = await this.waves.ask(planned, (handle, token) =>
      handle.signal(retryNodesSignal, { token, ...(nodes === undefined ? {} : { nodes }) }),
    );
    // Who is tried again is to be left out no more; another skip is another word.
    if (answer?.accepted === true) for (const name of nodes ?? []) this.takeBack(name);
    if (answer !== undefined) return answer;
    // It ended meanwhile: what it has handed back is to be tried again, what it has not is looked up there.
    if (nodes?.every(this.isRetried) === true) return yes(`tried again before any further wave: ${listed(nodes)}`);
    const closed = this.closed('retry');
    if (closed !== undefined) return later(closed);
    return nodes === undefined ? this.retryAll() : this.each(nodes.join(','), (name) => this.retry(name));
  }
}

export const isAll = (node: unknown): boolean => node === undefined || textOf(node) === '*';
