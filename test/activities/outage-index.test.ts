import { beforeEach, describe, expect, it } from '@jest/globals';
import { OutageIndex } from '../../activities/outage-index.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { Reflector } from '../../kube/reflector.ts';

const node = (name: string, more: Partial<NodeView> = {}): NodeView => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  creationTimestamp: '2026-03-01T10:00:00Z',
  labels: {},
  unschedulable: false,
  ready: true,
  bootID: 'boot-1',
  kubeletVersion: 'v1.33.4+k3s1',
  architecture: 'amd64',
  controlPlane: false,
  pressures: [],
  ...more,
});

/** Delivers what it is told to, as the Node watch would. */
class Nodes {
  readonly known = new Map<string, NodeView>();
  #listener: (name: string, now: NodeView | undefined, before: NodeView | undefined) => void = () => undefined;

  values(): Iterable<NodeView> {
    return this.known.values();
  }

  onChange(listener: (name: string, now: NodeView | undefined, before: NodeView | undefined) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  deliver(name: string, now: NodeView | undefined): void {
    const before = this.known.get(name);
    if (now === undefined) this.known.delete(name);
    else this.known.set(name, now);
    this.#listener(name, now, before);
  }
}

describe('the nodes that are out', () => {
  let nodes: Nodes;
  const start = () => new OutageIndex(nodes as unknown as Reflector<NodeView>);
  beforeEach(() => {
    nodes = new Nodes();
  });

  it.each<[string, Partial<NodeView>, object]>([
    ['are marked ones, with the place of the mark', { owner: 'node/x', ownerOrder: 70 }, { marked: true, order: 70 }],
    ['are marked ones from before the watch', { owner: 'node/x', ownerOrder: 0 }, { marked: true, order: 0 }],
    [
      'are held ones, which come before every mark: they stay out',
      { owner: 'held:Lost', ownerOrder: 70 },
      { marked: true, order: 0 },
    ],
    ['are those that are not Ready', { ready: false }, { marked: false, order: 0 }],
    ['are cordoned ones, whoever did it', { unschedulable: true }, { marked: false, order: 0 }],
    ['tell a control-plane node', { ready: false, controlPlane: true }, { controlPlane: true }],
  ])('%s', (_, more, expected) => {
    nodes.known.set('a', node('a', more));
    nodes.known.set('b', node('b'));
    expect([...start().values()]).toEqual([expect.objectContaining({ name: 'a', ...expected })]);
  });

  it('follow the watch', () => {
    const index = start();
    const names = () => [...index.values()].map(({ name }) => name);
    expect(names()).toEqual([]);
    nodes.deliver('a', node('a', { owner: 'node/x', ownerOrder: 5 }));
    nodes.deliver('b', node('b', { ready: false }));
    expect(names()).toEqual(['a', 'b']);
    nodes.deliver('a', node('a'));
    expect(names()).toEqual(['b']);
    nodes.deliver('b', undefined);
    expect(names()).toEqual([]);
  });

  describe('are waited for', () => {
    const one = (index: OutageIndex) => () => [...index.values()][0]?.name;
    const signal = new AbortController().signal;

    it('with an answer at once where there is one', async () => {
      nodes.known.set('a', node('a', { ready: false }));
      const index = start();
      await expect(index.waitFor(one(index), signal)).resolves.toBe('a');
    });

    it('until a change brings one, by each that waits', async () => {
      const index = start();
      const waits = [index.waitFor(one(index), signal), index.waitFor(one(index), signal)];
      let answered = false;
      void waits[0]?.then(() => (answered = true));
      nodes.deliver('b', node('b'));
      await new Promise(setImmediate);
      expect(answered).toBe(false);
      nodes.deliver('a', node('a', { ready: false }));
      await expect(Promise.all(waits)).resolves.toEqual(['a', 'a']);
    });

    it('and not missed between two changes at once', async () => {
      const index = start();
      const wait = index.waitFor(() => ([...index.values()].length === 2 ? 'both' : undefined), signal);
      nodes.deliver('a', node('a', { ready: false }));
      nodes.deliver('b', node('b', { ready: false }));
      await expect(wait).resolves.toBe('both');
    });

    it('until they are no more wanted', async () => {
      const index = start();
      const stop = new AbortController();
      const wait = index.waitFor(one(index), stop.signal);
      stop.abort(new Error('the worker ends'));
      await expect(wait).rejects.toThrow('the worker ends');
      await expect(index.waitFor(() => 'never asked', stop.signal)).rejects.toThrow('the worker ends');
      nodes.deliver('a', node('a', { ready: false }));
    });

    it('with the error of the question', async () => {
      const index = start();
      let wrong = false;
      const wait = index.waitFor(() => {
        if (wrong) throw new Error('node a is gone');
        return undefined;
      }, signal);
      wrong = true;
      nodes.deliver('a', node('a'));
      await expect(wait).rejects.toThrow('node a is gone');
    });
  });
});
