import { NAMESPACE } from './chart.ts';
import { eventually } from './policies-rig.ts';

type Kubectl = (...args: string[]) => Promise<string>;

/**
 * Says as a kubelet would that the pod with this label, of one container, ended so, with these last words. Waits for
 * the pod; `former` is the UID of an earlier one of its name.
 */
export async function endPod(
  kubectl: Kubectl,
  label: string,
  exitCode: number,
  message: string,
  former = '',
): Promise<void> {
  const fields = '{.metadata.uid} {.metadata.name} {.spec.containers[0].name} {.status.phase}';
  const query = ['-n', NAMESPACE, '-l', label, '-o', `jsonpath={range .items[*]}${fields}{"\\n"}{end}`];
  const [, name = '', container = ''] = await eventually(`a pod of ${label}`, async () => {
    const lines = (await kubectl('get', 'pods', ...query)).split('\n').map((line) => line.split(' '));
    return lines.find(([uid, , , phase]) => uid !== former && phase === 'Pending');
  });
  const terminated = { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', message };
  const ended = { name: container, image: 'i', imageID: 'i', ready: false, restartCount: 0, state: { terminated } };
  const status = { phase: exitCode === 0 ? 'Succeeded' : 'Failed', containerStatuses: [ended] };
  const patch = ['--subresource=status', '--type=merge', `--patch=${JSON.stringify({ status })}`];
  await kubectl('patch', 'pod', name, '-n', NAMESPACE, ...patch);
}
