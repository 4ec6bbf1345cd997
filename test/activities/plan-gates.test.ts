import { beforeEach, expect, it, describe } from '@jest/globals';
import { IMAGE, PlanWorld } from './plan-world.ts';

let world: PlanWorld;
beforeEach(() => {
  world = new PlanWorld().node('cp-1').node('worker-1').node('worker-2').node('worker-3');
});

describe('a plan', () => {
  it('names gates that are closed now, but not the image and the budget, which come with the turn of a node', async () => {
    world.node('worker-2', { ready: false, notReadySince: '2026-03-01T09:00:00Z' });
    world.node('worker-3', { unschedulable: true });
    const { risks, nodes } = await world.report();
    expect(risks.filter(({ reason }) => reason === 'GateClosed').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^worker-2 would wait, as it is now: node worker-2 is not Ready since/),
      expect.stringMatching(/^worker-3 would wait, as it is now: node worker-3 is cordoned by somebody else/),
    ]);
    expect(nodes.map(({ name, note }) => `${name}${note === undefined ? '' : ' waits'}`)).toEqual([
      'cp-1',
      'worker-1',
      'worker-2 waits',
      'worker-3 waits',
    ]);
  });

  it('says once, of all nodes, that no window is open or a health gate is closed', async () => {
    const windows = [{ cron: '0 3 1 1 *', duration: '1m', timeZone: 'UTC' }];
    world.node('worker-3', { ready: false });
    const healthGates = [{ name: 'racks', nodes: { matchLabels: {} } }] as never;
    const { risks } = await world.report({ strategy: { windows, healthGates } });
    expect(risks.filter(({ reason }) => reason === 'GateClosed').map(({ count, message }) => [count, message])).toEqual(
      [
        [4, expect.stringMatching(/^every node would wait, as it is now: .*window/)],
        [4, expect.stringMatching(/^every node would wait, as it is now: health gate racks: /)],
        [1, expect.stringMatching(/^worker-3 would wait, as it is now: node worker-3 is not Ready/)],
      ],
    );
  });

  it('says that strangers take the budget, but not nodes that it may start itself', async () => {
    const taken = async () =>
      (await world.report()).risks.filter(({ reason }) => reason === 'BudgetTaken').map(({ message }) => message);
    const out = (name: string) => world.outages.set(name, { name, controlPlane: false, marked: false, order: 0 });
    // Held since an earlier attempt: this one takes it over.
    world.node('worker-1', { owner: 'held:UpgradeFailed', unschedulable: true });
    out('worker-1');
    expect(await taken()).toEqual([]);
    out('other-9');
    expect(await taken()).toEqual([
      expect.stringMatching(/^wave workers: out already are other-9, and 1 may be out at once: none of its nodes/),
    ]);
  });

  it('leaves out what another NodeOpUpgrade wants, and says which', async () => {
    const of = (name: string, creationTimestamp: string, image: string, labels = {}) =>
      world.upgrades.set(`ns/${name}`, {
        apiVersion: 'operator.kairos.io/v1alpha1',
        kind: 'NodeOpUpgrade',
        metadata: { namespace: 'ns', name, uid: name === 'v4' ? 'u' : name, generation: 1, creationTimestamp },
        spec: { image, nodeSelector: { matchLabels: labels } },
      });
    of('v4', '2026-03-01T10:00:00Z', IMAGE);
    of('newer', '2026-03-01T11:00:00Z', 'quay.io/kairos/hadron:v4.0.4', { rack: 'a' });
    world.node('worker-2', { labels: { rack: 'a' } }).pod('web-1', 'worker-2', 'a');
    const { risks, nodes } = await world.report();
    const why = 'NodeOpUpgrade ns/newer, which was created later, wants quay.io/kairos/hadron:v4.0.4 there';
    expect(risks.filter(({ reason }) => reason !== 'ControlPlane')).toEqual([
      { effect: 'Notes', reason: 'Superseded', count: 1, message: `worker-2 would not be touched: ${why}` },
    ]);
    expect(nodes.find(({ name }) => name === 'worker-2')?.note).toBe(`not touched: ${why}`.slice(0, 200));
    expect(world.evictions).toEqual([]);
  });

  it('refuses what the trusted boot of a node forbids', async () => {
    world.node('worker-1', {}, { trustedBoot: true, bootState: 'passive' });
    const [risk] = (await world.report()).risks;
    expect(risk).toMatchObject({ effect: 'Refuses', reason: 'NodeRefused', count: 1 });
    expect(risk?.message).toMatch(
      /^worker-1 would end as Failed, untouched: it has trusted boot and runs from its passive/,
    );
  });

  it('of a rollout that runs says what it has in hand and what has ended, and tries no drain of these', async () => {
    const request = {
      kind: 'NodeOpUpgrade',
      namespace: 'ns',
      name: 'v4',
      uid: 'u',
      generation: 1,
      attempt: 1,
    } as const;
    const rollout = 'rollout/kairos-c/ns/v4';
    const inHand = { rollout, request, image: IMAGE, version: 'v', bootID: 'b', startedAt: '2026-03-01T10:00:00Z' };
    world.node('worker-1', { owner: 'node/x', unschedulable: true }, { inHand, step: 'Drain' });
    world.outages.set('worker-1', { name: 'worker-1', controlPlane: false, marked: true, order: 1 });
    const [image, finishedAt] = [IMAGE, '2026-03-01T10:00:00Z'];
    const lastAttempt = { rollout, request, specGeneration: 1, image, verdict: 'RolledBack' as const, finishedAt };
    world.node('worker-2', {}, { lastAttempt }).pod('web-1', 'worker-1', 'a').pod('web-2', 'worker-2', 'b');
    const asked = { rolloutID: 'plan/kairos-c/ns/v4', asked: 'now' };
    const { nodes, risks } = await world.report({}, undefined, asked);
    expect(nodes.map(({ name, note = '' }) => `${name}: ${note}`)).toEqual([
      'cp-1: ',
      'worker-1: in hand: Drain',
      'worker-2: ended in this attempt: RolledBack',
      'worker-3: ',
    ]);
    expect(risks.map(({ reason }) => reason)).toEqual(['ControlPlane']);
    expect(world.evictions).toEqual([]);
    const { body } = world.requests.find(({ verb }) => verb === 'merge-patch') ?? {};
    expect(body?.status?.plan).toMatchObject({ asked: 'now', attempt: 1 });
  });
});
