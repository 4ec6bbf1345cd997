import { describe, expect, it } from '@jest/globals';
import { prePullPod, rebootPod, writeJob, type WriteStep } from '../../activities/manifests.ts';
import { UPGRADE_SCRIPT } from '../../activities/scripts.ts';
import type { NodeInHand } from '../../api/messages.ts';
import { HAND } from './step-world.ts';

const HARD_PATHS = ['/etc/my file', `/etc/it's`, '/etc/"quoted"', '/etc/$(reboot)', '/etc/*'];
const handWith = (spec: Partial<NodeInHand['spec']>, more: Partial<NodeInHand> = {}): NodeInHand => ({
  ...HAND,
  ...more,
  spec: { ...HAND.spec, ...spec },
});
const writer = (hand: NodeInHand = HAND, step: WriteStep = 'upgrade', trustedBoot = false) => {
  const job = writeJob(hand, step, { trustedBoot });
  const pod = job.spec.template.spec;
  const [container] = pod.containers;
  if (container === undefined) throw new Error('the Job has no container');
  return { job, pod, container, args: container.command.slice(4) };
};
const valueOf = ({ env }: ReturnType<typeof writer>['container'], name: string) =>
  env.find((variable) => variable.name === name)?.value;

describe('the Job that writes an image', () => {
  it('runs at most once in a boot, and is ended by nobody', () => {
    const { job, pod, container } = writer();
    // One name for a node and a boot, whoever asks, and for what image.
    const others: NodeInHand[] = [
      handWith({ image: 'j', debug: true }, { target: { ...HAND.target, image: 'j', pinned: 'j' } }),
      handWith({}, { rolloutID: 'rollout/other', request: { ...HAND.request, name: 'other', attempt: 7 } }),
      handWith(
        {},
        { workflowID: 'x', startedAt: '2030-01-01T00:00:00Z', place: { group: 'control-plane', budget: 9 } },
      ),
    ];
    for (const hand of others) expect(writer(hand).job.metadata.name).toBe(job.metadata.name);
    const another = [
      { ...HAND, bootID: 'boot-2' },
      { ...HAND, node: { name: 'n-1', uid: 'uid-2' } },
    ];
    for (const hand of another) expect(writer(hand).job.metadata.name).not.toBe(job.metadata.name);

    expect(job.spec).toEqual({ backoffLimit: 0, template: expect.anything() });
    expect(job.metadata).not.toHaveProperty('ownerReferences');
    expect(job.metadata).not.toHaveProperty('finalizers');
    expect(pod).toMatchObject({
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 3600,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    });
    expect(pod).not.toHaveProperty('activeDeadlineSeconds');
    for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle'])
      expect(container).not.toHaveProperty(probe);
    // Memory is asked for, so that it is not the first to go; no limit, which would have it killed or throttled.
    expect(container.resources).toEqual({ requests: { cpu: '10m', memory: '256Mi' } });
  });

  it('writes the recovery image once in an attempt: another one in the same boot may be for another image', () => {
    const name = (more: Partial<NodeInHand>) => writer({ ...HAND, ...more }, 'recovery').job.metadata.name;
    expect(name({ workflowID: 'x', startedAt: '2030-01-01T00:00:00Z' })).toBe(name({}));
    const others: Partial<NodeInHand>[] = [
      { request: { ...HAND.request, attempt: 2 } },
      { request: { ...HAND.request, generation: 2 } },
      { request: { ...HAND.request, uid: 'made again under the same name' } },
      { rolloutID: 'rollout/other' },
      { bootID: 'boot-2' },
    ];
    const names = others.map(name);
    expect(new Set([name({}), writer().job.metadata.name, ...names]).size).toBe(names.length + 2);
    expect(valueOf(writer(HAND, 'recovery').container, 'LOCK')).toBe(name({}));
    expect(valueOf(writer().container, 'LOCK')).toBe('upgrade-boot-1');
  });

  it('is root on its own node, and nobody in the cluster', () => {
    const { pod, container } = writer(handWith({ imagePullSecrets: ['registry', 'mirror'] }));
    expect(pod).toMatchObject({
      nodeName: 'n-1',
      hostPID: true,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      imagePullSecrets: [{ name: 'registry' }, { name: 'mirror' }],
    });
    expect(pod).not.toHaveProperty('serviceAccountName');
    expect(container.securityContext).toEqual({ privileged: true });
    // At /host exactly: kairos-agent leaves that folder out of the image, and no other of this name.
    expect(pod.volumes).toEqual([{ name: 'host', hostPath: { path: '/' } }]);
    expect(container.volumeMounts).toEqual([{ name: 'host', mountPath: '/host' }]);
    expect(valueOf(container, 'HOST_DIR')).toBe('/host');
  });

  it('runs the image that was looked at, and tells it whose it is', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const { container } = writer(handWith({}, { target: { ...HAND.target, digest, pinned: `i@${digest}` } }));
    expect(container).toMatchObject({ image: `i@${digest}`, imagePullPolicy: 'IfNotPresent' });
    expect(valueOf(container, 'BOOT_ID')).toBe('boot-1');
    expect(JSON.parse(valueOf(container, 'STAMP') ?? '')).toEqual({
      image: 'i',
      digest,
      rollout: HAND.rolloutID,
      sourceBootID: 'boot-1',
    });
    expect(container.terminationMessagePolicy).toBe('FallbackToLogsOnError');
    expect(container.command.slice(0, 4)).toEqual(['/bin/sh', '-c', UPGRADE_SCRIPT, 'upgrade']);
  });

  it.each<[string, Partial<NodeInHand['spec']>, WriteStep, string[]]>([
    ['the active image', {}, 'upgrade', ['upgrade', '--source', 'dir:/']],
    ['the recovery image', {}, 'recovery', ['upgrade', '--recovery', '--source', 'dir:/']],
    ['with more to say', { debug: true }, 'upgrade', ['--debug', 'upgrade', '--source', 'dir:/']],
    [
      'without some paths, each a word of its own that no shell reads',
      { excludePaths: HARD_PATHS },
      'upgrade',
      ['upgrade', '--source', 'dir:/', ...HARD_PATHS.flatMap((path) => ['--exclude-path', path])],
    ],
  ])('writes %s', (_, spec, step, words) => {
    const { args, container } = writer(handWith(spec), step);
    expect(args).toEqual(words);
    expect(valueOf(container, 'STEP')).toBe(step);
    expect(valueOf(container, 'TRUSTED_BOOT')).toBe('no');
  });

  it('takes the signed files on a machine with trusted boot, in the same Job', () => {
    const { job, args, container } = writer(handWith({ debug: true }), 'recovery', true);
    expect(args).toEqual(['--debug', 'upgrade', '--recovery', '--source', 'dir:/usr/local/trusted-boot']);
    expect(valueOf(container, 'TRUSTED_BOOT')).toBe('yes');
    expect(job.metadata.name).toBe(writer(HAND, 'recovery').job.metadata.name);
  });

  it('binds /dev and /run of the host, and takes off what kubelet mounts over /etc', () => {
    const wanted = [
      'mount --rbind "$host/dev" /dev',
      'mount --rbind "$host/run" /run',
      'for file in /etc/hostname /etc/hosts /etc/resolv.conf; do umount "$file"',
    ];
    for (const line of wanted) expect(UPGRADE_SCRIPT).toContain(line);
  });

  it('has names and labels that Kubernetes takes, however long the name of the node', () => {
    const node = { name: `${'n'.repeat(200)}.example.com`, uid: 'u' };
    const { metadata } = writer({ ...HAND, node }).job;
    expect(metadata.name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    for (const value of Object.values(metadata.labels))
      expect(value).toMatch(/^[A-Za-z0-9][-A-Za-z0-9_.]{0,61}[A-Za-z0-9]$/);
    expect(metadata.annotations['kairos.io/node-name']).toBe(node.name);
  });
});

describe('the pod that pulls', () => {
  it('asks for the signed files only where the machine needs them', () => {
    const names = (trustedBoot: boolean) =>
      prePullPod(HAND, HAND.node, { trustedBoot }).spec.containers.map(({ name, command }) => [
        name,
        command.join(' '),
      ]);
    expect(names(false).map(([name]) => name)).toEqual(['kairos-release', 'os-release']);
    expect(names(true)[2]).toEqual(['trusted-boot', '/bin/sh -c test -d /trusted-boot']);
  });
});

describe('the pod that reboots', () => {
  it('stays where a taint would drive others away, is tried again, and leaves at once', () => {
    for (const pod of [rebootPod(HAND), rebootPod(HAND, 'forced')]) {
      expect(pod.spec).toMatchObject({
        nodeName: 'n-1',
        restartPolicy: 'OnFailure',
        tolerations: [{ operator: 'Exists' }],
        priorityClassName: 'system-node-critical',
        terminationGracePeriodSeconds: 0,
        hostPID: true,
        hostNetwork: true,
        automountServiceAccountToken: false,
      });
      expect(pod.spec).not.toHaveProperty('activeDeadlineSeconds');
      expect(pod.spec.containers[0]?.env).toEqual([{ name: 'BOOT_ID', value: 'boot-1' }]);
    }
  });
});
