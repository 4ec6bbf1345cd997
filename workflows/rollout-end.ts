import type { RolloutResult } from '../api/messages.ts';
import type { Plan } from '../api/plan-messages.ts';
import { planSummary } from '../policy/plan-text.ts';
import { listed } from './request-texts.ts';
import type { RolloutRecord } from './rollout-record.ts';

/** How many of a list of nodes a message names. */
const NAMED = 5;

/** How a rollout ends that has run all of its waves. `late`: what is to be said of evidence that came late. */
export function endOf(record: RolloutRecord, plan: Plan, late: string): RolloutResult {
  const { failures, total } = record;
  const rest = `${leftOut(record)}${superseded(record)}${gone(record)}${leftAlone(plan)}`;
  const run = total - record.asked.skipped.length;
  if (total === 0 && failures === 0 && leftToOthers(record) > 0)
    return record.end('Cancelled', `no node was touched${rest}`);
  if (total === 0) return record.end('Failed', `no node is left to upgrade${gone(record)}${leftAlone(plan)}`);
  if (failures === 0)
    return record.end('Completed', `${run} of ${total} nodes run ${record.version() ?? 'the target'}${late}${rest}`);
  return record.end(
    'Failed',
    `${failures} of ${total} nodes did not reach the target: ${namesOf(record)}${late}${rest}`,
  );
}

/** How a rollout ends that starts nothing any more, and why. `again`: what was asked meanwhile and cannot be done. */
export function endOfStopped(record: RolloutRecord, why: string, late: string, again: string): RolloutResult {
  const ended = Object.values(record.state.verdicts).reduce((sum, count) => sum + count, 0) - leftToOthers(record);
  const untouched = record.total - ended;
  const rest = untouched === 0 ? '' : `; ${untouched} ${untouched === 1 ? 'node was' : 'nodes were'} not touched`;
  const list = record.failures < 2 ? '' : `; failed: ${namesOf(record)}`;
  return record.end(
    'Failed',
    `stopped: ${why}${list}${late}${rest}${again}${leftOut(record)}${superseded(record)}${gone(record)}`,
  );
}

/** How a dry run ends. */
export function endOfDryRun(record: RolloutRecord, { report }: Plan): RolloutResult {
  const { namespace, name } = record.context.request;
  const command = `kubectl patch -n ${namespace} nodeopupgrade ${name} --type merge -p '{"spec":{"dryRun":false}}'`;
  const said = report === undefined ? '' : `. ${planSummary(report)}`;
  const message = `Nothing was touched: it is a dry run, and status.plan has all of it. To carry it out: ${command}${said}`;
  return record.end('Planned', message);
}

/** Why a rollout has nothing to do. */
export const noNodes = (plan: Plan): string =>
  plan.leftAlone.length === 0
    ? 'no node matches spec.nodeSelector: compare it with kubectl get nodes --show-labels'
    : `no node to upgrade: ${plan.leftAlone
        .slice(0, NAMED)
        .map((node) => `${node.name}: ${node.reason}`)
        .join('; ')}`;

const namesOf = ({ failed, failures }: RolloutRecord) =>
  `${failed
    .slice(0, NAMED)
    .map(({ name, verdict }) => `${name} (${verdict})`)
    .join(', ')}${more(failures)}`;

const more = (count: number) => (count > NAMED ? ` and ${count - NAMED} more` : '');

/** Names what people left out. */
const leftOut = ({ asked }: RolloutRecord) =>
  asked.skipped.length === 0 ? '' : `; left out: ${listed(asked.skipped.map(({ name }) => name))}`;

/** Names what went before its turn. */
const gone = ({ gone: names }: RolloutRecord) =>
  names.length === 0 ? '' : `; gone before their turn: ${names.slice(0, NAMED).join(', ')}${more(names.length)}`;

const leftToOthers = ({ state }: RolloutRecord) => state.verdicts['Superseded'] ?? 0;

/** Names what was left to other NodeOpUpgrades, and to which. */
function superseded(record: RolloutRecord): string {
  const count = leftToOthers(record);
  if (count === 0) return '';
  const named = record.superseded.slice(0, NAMED).map(({ name, by }) => `${name} (to ${by})`);
  return `; left to a NodeOpUpgrade that was created later: ${named.join(', ')}${more(count)}`;
}

/** Names what was selected but not upgraded. */
const leftAlone = (plan: Plan) =>
  plan.leftAlone.length === 0
    ? ''
    : `; left alone: ${plan.leftAlone
        .slice(0, NAMED)
        .map((node) => `${node.name} (${node.reason})`)
        .join(', ')}`;
