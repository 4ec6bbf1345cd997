import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import type { NodeOpUpgrade, NodeOpUpgradeSpec, RolloutStatus } from '../../../api/types.ts';
import type { KairosNodeView } from '../../../kube/kairos-nodes.ts';
import type { NodeView } from '../../../kube/nodes.ts';
import { isFinal } from '../../../policy/engine.ts';
import type { NodeRecording } from '../../cluster.ts';
import type { Stand } from '../stand.ts';
import { LiveView } from '../view.ts';

export const NAMESPACE = 'kairos-system';
const DRAW_MS = 250;
const LOOK_MS = 100;

/** A NodeOpUpgrade as a scenario writes it. */
export interface Asked {
  readonly name: string;
  readonly spec: NodeOpUpgradeSpec;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Where a scenario is played: types what an operator would type, and looks at what the cluster says then. */
export class Theatre {
  readonly stand: Stand;
  readonly signal: AbortSignal;
  readonly startedAtMs = Date.now();
  readonly #view = new LiveView(process.stdout, this.startedAtMs);
  #shown = '';

  constructor(stand: Stand, signal: AbortSignal) {
    this.stand = stand;
    this.signal = signal;
  }

  /** Shows the nodes as long as `play` takes. */
  async shown<T>(play: () => Promise<T>): Promise<T> {
    const drawing = setInterval(() => this.#draw(), DRAW_MS);
    try {
      return await play();
    } finally {
      clearInterval(drawing);
      this.#draw();
    }
  }

  /** A word to whoever watches. */
  say(text: string): void {
    this.#view.note('', text);
  }

  /** Runs kubectl as it is shown. Throws with what it said when it fails. */
  kubectl(...args: string[]): string {
    this.#view.note('$', `kubectl ${quoted(args)}`);
    return this.stand.kubectl(args);
  }

  /** Applies a NodeOpUpgrade, which is the one shown from now on. */
  apply({ name, spec, annotations }: Asked): void {
    const object = {
      apiVersion: 'operator.kairos.io/v1alpha1',
      kind: 'NodeOpUpgrade',
      metadata: { name, namespace: NAMESPACE, ...(annotations === undefined ? {} : { annotations }) },
      spec,
    };
    const text = stringify(object);
    const file = path.join(this.stand.folder, `${name}.yaml`);
    writeFileSync(file, text);
    for (const line of text.trimEnd().split('\n')) this.#view.note('', line);
    this.#shown = name;
    this.kubectl('apply', '-f', file);
  }

  /** Sets an annotation on a NodeOpUpgrade; null takes it away. */
  annotate(name: string, annotation: string, value: string | null): void {
    const set = value === null ? `${annotation}-` : `${annotation}=${value}`;
    this.kubectl('annotate', '-n', NAMESPACE, 'nodeopupgrade', name, '--overwrite', set);
  }

  /** Changes fields of the spec. */
  edit(name: string, spec: Partial<NodeOpUpgradeSpec>): void {
    this.#shown = name;
    const patch = JSON.stringify({ spec });
    this.kubectl('patch', '-n', NAMESPACE, 'nodeopupgrade', name, '--type', 'merge', '-p', patch);
  }

  upgrade(name: string): NodeOpUpgrade | undefined {
    return this.stand.upgrades.get(`${NAMESPACE}/${name}`);
  }

  /** The status once the attempt of this generation has ended, by its rollout and by the watcher. */
  async ended(name: string, { generation = 1, withinMs = 180_000 } = {}): Promise<RolloutStatus> {
    const end = () => {
      const status = this.upgrade(name)?.status;
      const { rollout } = status ?? {};
      const isOver = rollout?.generation === generation && isFinal(rollout.phase) && status?.phase === rollout.phase;
      return isOver ? rollout : undefined;
    };
    const rollout = await this.until(`NodeOpUpgrade ${name} ends`, end, withinMs);
    this.say(`${name}: ${rollout.phase}: ${rollout.message ?? ''}`);
    return rollout;
  }

  /** Looks until there is something; throws with what was waited for when that takes too long. */
  async until<T>(what: string, look: () => T | undefined, withinMs = 120_000): Promise<T> {
    const giveUpAtMs = Date.now() + withinMs;
    for (;;) {
      this.signal.throwIfAborted();
      const found = look();
      if (found !== undefined && found !== false) return found;
      if (Date.now() > giveUpAtMs)
        throw new Error(
          `${what}: not within ${withinMs / 1000} s; see ${path.relative(process.cwd(), this.stand.folder)}/logs`,
        );
      await sleep(LOOK_MS);
    }
  }

  node(name: string): NodeView {
    return present(this.stand.observer.nodes.get(name), `node ${name}`);
  }

  kairosNode(name: string): KairosNodeView {
    return present(this.stand.kairosNodes.get(name), `KairosNode ${name}`);
  }

  recording(name: string): NodeRecording {
    const found = this.stand.cluster.recordings().find(({ node }) => node === name);
    return present(found, `the recording of ${name}`);
  }

  #draw(): void {
    const { observer, kairosNodes } = this.stand;
    const { phase = 'Pending', message = '' } = this.upgrade(this.#shown)?.status ?? {};
    const nodes = [...observer.nodes.values()].map(({ name, controlPlane, ready }) => ({
      name,
      controlPlane,
      ready,
      kairos: kairosNodes.get(name),
    }));
    this.#view.draw(nodes, phase, message);
  }
}

function present<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new Error(`${what} is not there`);
  return found;
}

const quoted = (args: readonly string[]) =>
  args.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(' ');
