import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { ImageKeeper, imageMissing, prePullImage } from '../../activities/pre-pull.ts';
import type { NodeInHand, Target } from '../../api/messages.ts';
import type { KubeClient } from '../../kube/client.ts';
import { HAND, MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const DIGEST = `sha256:${'a'.repeat(64)}`;
const PINNED = `quay.io/kairos/hadron@${DIGEST}`;
const hand: NodeInHand = { ...HAND, spec: { ...HAND.spec, image: IMAGE } };
const RELEASE =
  'KAIROS_RELEASE="v4.0.3"\nKAIROS_SOFTWARE_VERSION="v1.33.9+k3s1"\nKAIROS_SOFTWARE_VERSION_PREFIX="k3s"\n';

let world: StepWorld;
let serverVersion: string;

beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
  serverVersion = 'v1.33.4+k3s1';
});
afterEach(() => {
  jest.useRealTimers();
});

/** The view with an API server that also tells its version; no node of this cluster is of the control plane. */
function withVersion(view: ClusterView): ClusterView {
  const client = {
    request: async (request: { path: string }) =>
      request.path === '/version' ? { gitVersion: serverVersion } : view.client.request(request as never),
  } as unknown as KubeClient;
  return { ...view, client };
}

const pulling = (more: { again?: boolean } = {}) =>
  world.run((view, input) => prePullImage(withVersion(view), { ...input, ...more }), { hand });

/** The containers of the pod have ended like this. */
const ended = (release: string, imageID = PINNED) => {
  const container = (name: string, message: string) => ({
    name,
    imageID,
    state: { terminated: { exitCode: 0, reason: 'Completed', message } },
  });
  return {
    phase: 'Succeeded',
    containerStatuses: [container('kairos-release', release), container('os-release', 'ID="hadron"\n')],
  };
};

const waitingFor = (reason: string, message: string) => ({
  phase: 'Pending',
  containerStatuses: [{ name: 'kairos-release', state: { waiting: { reason, message } } }],
});

describe('a pull', () => {
  it('reads what the image is, and pins it by the digest that the node has', async () => {
    const pull = pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(pull.error).toBeUndefined();
    expect(pull.answer).toMatchObject({
      image: IMAGE,
      pinned: PINNED,
      digest: DIGEST,
      imageID: PINNED,
      version: 'v4.0.3-k3sv1.33.9+k3s1',
    });
    expect(pull.answer).not.toHaveProperty('refused');
  });

  it('of an image from a file keeps its tag', async () => {
    const pull = pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE, DIGEST));
    await elapse(0);
    expect(pull.answer).toMatchObject({ pinned: IMAGE, digest: DIGEST });
  });

  it('says that no worker may have the image, by the API server where the control plane is not to be seen', async () => {
    serverVersion = 'v1.32.1+k0s';
    const pull = pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(pull.answer).toMatchObject({
      refused: expect.stringMatching(/^Kubernetes 1\.33 in the image is newer than the control plane's 1\.32/),
    });
  });

  it.each([
    [
      'InvalidImageName',
      'invalid reference format',
      'PrePullFailed',
      /cannot be pulled on node n-1: correct spec.image/,
    ],
    ['ErrImageNeverPull', 'is not present with pull policy of Never', 'PrePullFailed', /cannot be pulled/],
    ['CreateContainerError', 'executable file `cp` not found in $PATH', 'NotAKairosImage', /has no program cp/],
    [
      'ErrImagePull',
      'no match for platform in manifest: not found',
      'WrongArchitecture',
      /another architecture than node n-1/,
    ],
  ])('that cannot succeed (%s: %s) ends at once, named', async (reason, message, type, words) => {
    const pull = pulling();
    await elapse(0);
    world.pod('kairos-pull', waitingFor(reason, message));
    await elapse(0);
    expect(pull.error).toMatchObject({ type, nonRetryable: true, message: expect.stringMatching(words) });
    expect(pull.error).toMatchObject({ message: expect.stringContaining(`(${reason} ${message})`) });
  });

  it.each([
    ['StartError', 'exec: "cp": executable file not found in $PATH: unknown', 'NotAKairosImage'],
    ['StartError', 'exec /bin/cp: exec format error', 'WrongArchitecture'],
    ['Error', 'exec /bin/cp: exec format error', 'WrongArchitecture'],
  ])('of a container that ended as %s (%s) is named', async (reason, message, type) => {
    const pull = pulling();
    await elapse(0);
    const state = { terminated: { exitCode: 128, reason, message } };
    world.pod('kairos-pull', { phase: 'Failed', containerStatuses: [{ name: 'kairos-release', state }] });
    await elapse(0);
    expect(pull.error).toMatchObject({ type });
  });

  it('that the registry does not answer is waited for until its deadline', async () => {
    const pull = pulling();
    await elapse(0);
    world.pod('kairos-pull', waitingFor('ErrImagePull', 'dial tcp: i/o timeout'));
    await elapse(29 * MINUTE);
    expect(pull.error).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(pull.error).toMatchObject({
      type: 'PrePullFailed',
      message: expect.stringContaining(': ErrImagePull dial tcp: i/o timeout; the node was not touched'),
    });
  });

  it('whose pod somebody deletes is begun again', async () => {
    const pull = pulling();
    await elapse(0);
    world.removePod('kairos-pull');
    await elapse(0);
    expect(world.pods).toEqual([]);
    await elapse(6 * SECOND);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(pull.answer).toMatchObject({ version: 'v4.0.3-k3sv1.33.9+k3s1' });
  });

  it('once more is another pod, which asks the registry', async () => {
    const first = pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    pulling({ again: true });
    await elapse(0);
    expect(first.answer).toBeDefined();
    expect(new Set(world.names).size).toBe(2);
  });
});

describe('the pod that keeps an image', () => {
  const target: Target = {
    image: IMAGE,
    pinned: PINNED,
    imageID: PINNED,
    architecture: 'amd64',
    version: 'v',
    fields: {},
  };
  const missing = (of: Target = target) => imageMissing(world.view, { ...hand, target: of });

  it('is missed when it was deleted, and made again by digest', async () => {
    pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(missing()).toBeUndefined();
    world.removePod('kairos-pull');
    expect(missing()).toMatch(/^the pod that keeps .* on node n-1 was deleted: it is pulled again$/);
    const keeper = new ImageKeeper(world.view, { ...hand, target });
    keeper.look();
    keeper.look();
    await elapse(0);
    expect(world.pods).toEqual(['kairos-pull']);
    expect([...world.view.pods.values()][0]?.containers[0]?.image).toBe(PINNED);
    expect(missing()).toBeDefined();
    world.pod('kairos-pull', ended(RELEASE));
    expect(missing()).toBeUndefined();
  });

  it('is made again where the kubelet refused it', async () => {
    const keeper = new ImageKeeper(world.view, { ...hand, target });
    keeper.look();
    await elapse(0);
    world.pod('kairos-pull', { phase: 'Failed', reason: 'OutOfpods' });
    expect(missing()).toBeDefined();
    await elapse(6 * SECOND);
    keeper.look();
    await elapse(0);
    expect(world.pods).toEqual([]);
    await elapse(6 * SECOND);
    keeper.look();
    await elapse(0);
    expect(world.pods).toEqual(['kairos-pull']);
  });

  it('is not the one that keeps an older image of that tag', async () => {
    pulling();
    await elapse(0);
    world.pod('kairos-pull', ended(RELEASE, `quay.io/kairos/hadron@sha256:${'b'.repeat(64)}`));
    await elapse(0);
    expect(missing()).toBeDefined();
    expect(imageMissing(world.view, hand)).toBeDefined();
    expect(
      imageMissing(world.view, { ...HAND, spec: hand.spec, node: hand.node, target: { ...target, pinned: IMAGE } }),
    ).toBeUndefined();
  });
});

describe('a pull that is only for windows', () => {
  const NIGHTLY = [{ cron: '0 22 * * *', durationMs: 2 * 60 * MINUTE, timeZone: 'UTC' }];
  const nightly: NodeInHand = { ...hand, spec: { ...hand.spec, windows: NIGHTLY, prePullWhen: 'WindowOpen' } };
  const pods = () => world.requests.filter((request) => request.startsWith('create kairos-pull'));
  const pullFor = (input: NodeInHand) =>
    world.run((view, given) => prePullImage(withVersion(view), given), { hand: input });

  it('begins when one opens, and has all of its time then', async () => {
    jest.setSystemTime(new Date('2026-03-02T20:00:00Z'));
    const pull = pullFor(nightly);
    await elapse(119 * MINUTE);
    expect(pods()).toEqual([]);
    expect(world.kairosNode.message).toBe(
      `pulling ${IMAGE}: waits, window closed until 2026-03-02T22:00:00Z (strategy.prePull.when)`,
    );
    await elapse(2 * MINUTE);
    expect(pods()).toHaveLength(1);
    await elapse(28 * MINUTE);
    expect(pull.error).toBeUndefined();
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(pull.answer).toMatchObject({ version: 'v4.0.3-k3sv1.33.9+k3s1' });
  });

  it('is finished when the window closes meanwhile', async () => {
    jest.setSystemTime(new Date('2026-03-02T23:59:00Z'));
    const pull = pullFor(nightly);
    await elapse(10 * MINUTE);
    world.pod('kairos-pull', ended(RELEASE));
    await elapse(0);
    expect(pull.answer).toMatchObject({ version: 'v4.0.3-k3sv1.33.9+k3s1' });
  });

  it('is not what others are: they begin at any time', async () => {
    jest.setSystemTime(new Date('2026-03-02T20:00:00Z'));
    pullFor({ ...hand, spec: { ...hand.spec, windows: NIGHTLY } });
    await elapse(0);
    expect(pods()).toHaveLength(1);
  });
});

it('nothing is pulled on a node that is left to another NodeOpUpgrade', async () => {
  const upgrade = (uid: string, image: string, minute: number) => ({
    metadata: { namespace: 'ns', name: `up-${uid}`, uid, creationTimestamp: `2026-03-01T10:0${minute}:00Z` },
    spec: { image },
  });
  const upgrades = { values: () => [upgrade('u', IMAGE, 1), upgrade('v', 'quay.io/kairos/hadron:v4.0.4', 2)] };
  const node = { ...hand.node, labels: {}, creationTimestamp: '2026-03-01T09:00:00Z' };
  const pull = world.run(
    (view, input) => {
      const nodes = { ...view.nodes, get: () => node };
      return prePullImage({ ...view, nodes, upgrades } as unknown as ClusterView, input);
    },
    { hand },
  );
  await elapse(0);
  expect(pull.answer).toEqual({
    supersededBy: 'ns/up-v',
    message:
      'node n-1 is left to NodeOpUpgrade ns/up-v, which was created later and wants quay.io/kairos/hadron:v4.0.4: not touched',
  });
  expect(world.requests).toEqual([]);
});
