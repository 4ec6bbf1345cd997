import type { IncomingMessage, ServerResponse } from 'node:http';
import { readLines } from '../../kube/lines.ts';
import { status } from './fake-api-server.ts';
import type { Faults, WatchFault } from './faults.ts';

const REMEMBERED = 40;
const REPEATS = 8;

/** Hands a watch on to the client until its fault comes. Resolves when the watch is over on either side. */
export class FaultyWatch {
  readonly #faults: Faults;
  readonly #response: ServerResponse;
  /** Lines that were sent for this collection, on this watch or on earlier ones. */
  readonly #sent: string[];
  #fault: WatchFault | undefined;
  #dueAt: number;
  #repeats = 0;

  constructor(faults: Faults, response: ServerResponse, sent: string[]) {
    this.#faults = faults;
    this.#response = response;
    this.#sent = sent;
    this.#fault = faults.forWatch();
    this.#dueAt = performance.now() + 20 + faults.random('due') * 300;
  }

  async run(upstream: IncomingMessage): Promise<void> {
    this.#response.writeHead(200, { 'content-type': 'application/json' });
    this.#response.flushHeaders();
    const withoutEvents = setTimeout(() => this.#onTime(), this.#dueAt - performance.now());
    try {
      for await (const line of readLines(upstream)) this.#pass(line);
      this.#response.end();
    } catch {
      this.#response.destroy();
    } finally {
      clearTimeout(withoutEvents);
    }
  }

  /** For the faults that need no event. */
  #onTime(): void {
    const response = this.#response;
    const acts: { [F in WatchFault]?: () => void } = {
      end: () => response.end(),
      cut: () => response.destroy(),
      'half-close': () => response.socket?.end(),
      'ERROR 410': () => response.end(errorLine(410, 'Expired')),
      'ERROR 500': () => response.end(errorLine(500, 'InternalError')),
      malformed: () => response.write('{"type":"MODIFIED"}\n'),
    };
    const act = this.#fault && acts[this.#fault];
    if (act !== undefined) this.#done(act);
    else if (this.#fault === 'silent') this.#faults.count('silent');
  }

  #pass(line: string): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    const isDue = performance.now() >= this.#dueAt;
    if (isDue && this.#fault === 'silent') return;
    if (isDue && this.#fault === 'truncated line') {
      this.#done(() => this.#response.end(line.slice(0, line.length / 2)));
      return;
    }
    if (isDue && this.#fault === 'broken line') {
      this.#done(() => this.#response.write(`${line.slice(0, line.length / 2)}\n`));
      return;
    }
    this.#response.write(`${line}\n`);
    if (isDue && (this.#fault === 'repeat' || this.#fault === 'replay')) this.#again(line, this.#fault);
    this.#sent.push(line);
    if (this.#sent.length > REMEMBERED) this.#sent.shift();
  }

  #again(line: string, how: 'repeat' | 'replay'): void {
    const old = how === 'repeat' ? line : this.#faults.pick('replay', this.#sent);
    if (old === undefined) return;
    this.#response.write(`${old}\n`);
    this.#faults.count(how);
    if (++this.#repeats === REPEATS) this.#response.destroy();
  }

  #done(act: () => void): void {
    if (this.#fault !== undefined) this.#faults.count(this.#fault);
    this.#fault = undefined;
    act();
  }
}

function errorLine(code: number, reason: string): string {
  return `${JSON.stringify({ type: 'ERROR', object: status(code, reason, 'from the faulty network') })}\n`;
}
