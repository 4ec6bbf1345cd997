import { styleText } from 'node:util';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import { formatDuration } from '../../policy/duration.ts';
import { byName } from '../../policy/order.ts';

export interface ViewNode {
  readonly name: string;
  readonly controlPlane: boolean;
  readonly ready: boolean;
  readonly kairos: KairosNodeView | undefined;
}

const ROWS = 40;
const NOTES = 6;
const NAME = 15;

/**
 * Shows how an upgrade goes: redrawn in place on a terminal, one line per change of a node's step elsewhere.
 * Holds no timers; call `draw` when something changed or time passed.
 */
export class LiveView {
  readonly #out: NodeJS.WriteStream;
  readonly #startedAtMs: number;
  readonly #seen = new Map<string, string>();
  readonly #notes: string[] = [];
  #lines = 0;

  constructor(out: NodeJS.WriteStream, startedAtMs: number) {
    this.#out = out;
    this.#startedAtMs = startedAtMs;
  }

  /** What happened to something that is no node: the last few stand below the table, elsewhere it is a line. */
  note(part: string, what: string): void {
    const at = formatDuration(Date.now() - this.#startedAtMs).padStart(6);
    const line = `${at}  ${part.padEnd(NAME)} ${what}`;
    if (!this.#out.isTTY) this.#out.write(`${line}\n`);
    this.#notes.push(line);
    this.#notes.splice(0, this.#notes.length - NOTES);
  }

  draw(nodes: readonly ViewNode[], phase: string, message: string): void {
    const order = [...nodes].sort((a, b) => Number(b.controlPlane) - Number(a.controlPlane) || byName(a, b));
    if (!this.#out.isTTY) {
      for (const node of order) this.#line(node);
      return;
    }
    const done = order.filter((node) => node.kairos?.status.upgradeState === 'Completed').length;
    const rows =
      order.length <= ROWS
        ? order
        : order.filter((node) => node.kairos?.status.upgradeState === 'InProgress').slice(0, ROWS);
    const elapsed = formatDuration(Date.now() - this.#startedAtMs);
    const width = this.#out.columns || 120;
    const text = [
      `${styleText('bold', phase)}  ${done}/${order.length} done  ${elapsed}  ${message}`.slice(0, width + 8),
      ...rows.map((node) => row(node).slice(0, width + 8)),
      ...this.#notes.map((line) => styleText('magenta', line.slice(0, width))),
    ];
    this.#out.write(
      `${this.#lines === 0 ? '' : `\u001B[${this.#lines}A`}${text.map((line) => `\u001B[2K${line}\n`).join('')}\u001B[0J`,
    );
    this.#lines = text.length;
  }

  #line(node: ViewNode): void {
    const state = stepOf(node);
    if (this.#seen.get(node.name) === state) return;
    const first = !this.#seen.has(node.name);
    this.#seen.set(node.name, state);
    if (first && state === 'waiting') return;
    const at = formatDuration(Date.now() - this.#startedAtMs).padStart(6);
    this.#out.write(`${at}  ${node.name.padEnd(NAME)} ${state.padEnd(12)} ${node.kairos?.status.message ?? ''}\n`);
  }
}

function stepOf({ kairos }: ViewNode): string {
  const status = kairos?.status;
  return status?.step ?? (status?.lastAttempt === undefined ? 'waiting' : status.lastAttempt.verdict);
}

function row(node: ViewNode): string {
  const status = node.kairos?.status;
  const step = stepOf(node);
  const since =
    status?.step === undefined || status.stepSince === undefined
      ? ''
      : formatDuration(Date.now() - Date.parse(status.stepSince));
  const color =
    status?.step !== undefined ? 'cyan' : step === 'Succeeded' ? 'green' : step === 'waiting' ? 'dim' : 'red';
  const ready = node.ready ? 'Ready   ' : styleText('yellow', 'NotReady');
  return `  ${node.name.padEnd(12)} ${node.controlPlane ? 'control-plane' : 'worker       '} ${ready} ${styleText(color, step.padEnd(12))} ${since.padStart(5)}  ${(status?.observedVersion ?? '').padEnd(26)} ${status?.step === undefined ? '' : (status.message ?? '')}`;
}
