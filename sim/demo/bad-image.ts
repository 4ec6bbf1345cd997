import path from 'node:path';
import { resolveBudget } from '../../policy/budget.ts';
import { resolveSpec } from '../../policy/strategy.ts';
import type { NodeOpUpgrade } from '../../api/types.ts';
import { checkFallback, checkInvariants, type Evidence } from '../invariants.ts';
import { readNodes } from '../read-nodes.ts';
import type { DemoOptions } from './options.ts';
import { printInvariants, type Outcome } from './report.ts';
import { showRollout } from './rollout.ts';
import { SAMPLE, readSample, type Stand } from './stand.ts';
import { printTable } from './table.ts';
import { TARGET } from './upgrade.ts';

/** Tag of the image that boots: a mended image is another image, under another name. */
export const MENDED = `${readSample().upgrade.spec.image}-mended`;

/**
 * Applies the sample, whose image does not boot, and shows how one node falls back and the rollout stops. With `mend`
 * the NodeOpUpgrade is then edited to an image that boots, as a user would, and everything is upgraded.
 */
export async function showBadImage(
  stand: Stand,
  options: DemoOptions,
  mend: boolean,
  signal: AbortSignal,
): Promise<Outcome> {
  const { text, upgrade } = readSample();
  console.log(`The image in it does not boot.\n$ kubectl apply -f ${SAMPLE}\n${text}`);
  const first = showRollout(stand, upgrade);
  console.log(stand.kubectl(['apply', '-f', SAMPLE]));
  const before = await readNodes(stand.client);
  const end = await first.end(1, signal);
  const evidence = await gather(stand, options, upgrade);
  printTable(evidence.kairosNodes, evidence.nodes);
  console.log(`\n${end.phase}: ${end.message}\n`);
  const fell = evidence.kairosNodes.find(({ status }) => status.lastAttempt?.verdict === 'RolledBack');
  const fallen = fell?.name ?? '';
  const old = before.kairosNodes.find(({ name }) => name === fallen)?.status.observedVersion ?? '';
  const invariants = checkFallback({ ...evidence, fallen, from: old });
  const held = printInvariants(invariants) && end.phase === 'Failed';
  const outcome = { phase: end.phase, makespanMs: end.endedAtMs - first.startedAtMs, invariants };
  if (!held) return { ...outcome, exitCode: 1 };
  const about = fell?.status.lastAttempt?.message ?? '';
  console.log(`\n${whatToDo(stand, upgrade, { node: fallen, old, about })}`);
  if (!mend) return { ...outcome, exitCode: 1 };
  return mendIt(stand, options, fallen, signal);
}

/** Edits the NodeOpUpgrade to the mended image and shows the rollout that follows. */
async function mendIt(stand: Stand, options: DemoOptions, fallen: string, signal: AbortSignal): Promise<Outcome> {
  const { upgrade } = readSample();
  const { namespace = '', name } = upgrade.metadata;
  const patch = JSON.stringify({ spec: { image: MENDED } });
  const args = ['patch', '-n', namespace, 'nodeopupgrade', name, '--type', 'merge', '-p', patch];
  console.log(`\nThe image is mended. It is pushed under another tag, and asked for:\n$ kubectl ${quoted(args)}`);
  const second = showRollout(stand, upgrade);
  console.log(stand.kubectl(args));
  const generation = stand.kubectl([
    'get',
    '-n',
    namespace,
    'nodeopupgrade',
    name,
    '-o',
    'jsonpath={.metadata.generation}',
  ]);
  const end = await second.end(Number(generation), signal);
  const evidence = await gather(stand, options, upgrade);
  printTable(evidence.kairosNodes, evidence.nodes);
  console.log(`\n${end.phase}: ${end.message}\n`);
  const invariants = checkInvariants({ ...evidence, writes: { [fallen]: 2 } });
  const held = printInvariants(invariants);
  const makespanMs = end.endedAtMs - second.startedAtMs;
  return { exitCode: held && end.phase === 'Completed' ? 0 : 1, phase: end.phase, makespanMs, invariants };
}

async function gather(stand: Stand, options: DemoOptions, { spec }: NodeOpUpgrade): Promise<Evidence> {
  const { moments, breaches } = stand.observer;
  const maxUnavailable = resolveBudget(resolveSpec(spec).maxUnavailable, options.workers);
  const recordings = stand.cluster.recordings();
  return { target: TARGET, maxUnavailable, moments, breaches, recordings, ...(await readNodes(stand.client)) };
}

function whatToDo(
  { folder }: Stand,
  { metadata: { namespace, name } }: NodeOpUpgrade,
  { node, old, about }: { node: string; old: string; about: string },
): string {
  return `${node}: RolledBack: ${about}
It serves on its old version ${old}. The rollout stopped there; no other node was touched.
What the operator knows of it:
  kubectl get kairosnode ${node} -o yaml
  kubectl get -n ${namespace} nodeopupgrade ${name} -o jsonpath='{.status.rollout}'
What the machine said: ${path.relative(process.cwd(), path.join(folder, 'machines', node, 'console.log'))}
Next: mend the image, push it under another tag, and name that in spec.image; the rollout then starts anew:
  kubectl edit -n ${namespace} nodeopupgrade ${name}
(BAD_IMAGE=mend make demo goes on with that; KEEP=1 leaves this cluster up.)`;
}

function quoted(args: readonly string[]): string {
  return args.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(' ');
}
