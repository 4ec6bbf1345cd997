import type { HealthGateSpec } from '../api/rollout-spec.ts';
import { heldFor } from './recovery.ts';
import { asText, valuesAt } from './json-path.ts';
import { matches } from './selector.ts';

type Nodes = NonNullable<HealthGateSpec['nodes']>;
type Workloads = NonNullable<HealthGateSpec['workloads']>;
type Field = NonNullable<HealthGateSpec['field']>;
type Prometheus = NonNullable<HealthGateSpec['prometheus']>;

/** How many objects that are not well a sentence names. */
const NAMED = 3;

/** A Node as far as a health gate looks at it. */
export interface HealthNode {
  name: string;
  labels: Readonly<Record<string, string>>;
  ready: boolean;
  owner?: string;
  notReadySince?: string;
  conditions?: Readonly<Record<string, string>>;
}

/** A workload as the API server has it. */
export interface Workload {
  metadata: { name: string; generation?: number };
  spec?: { replicas?: number };
  status?: {
    observedGeneration?: number;
    availableReplicas?: number;
    desiredNumberScheduled?: number;
    numberAvailable?: number;
  };
}

/** One series of an answer of Prometheus. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

const listed = (wrong: readonly string[]) =>
  `${wrong.slice(0, NAMED).join('; ')}${wrong.length > NAMED ? `; and ${wrong.length - NAMED} more` : ''}`;

const wrongOf = (wrong: readonly (string | undefined)[]): string | undefined => {
  const found = wrong.filter((text) => text !== undefined);
  return found.length === 0 ? undefined : listed(found);
};

/**
 * Which Nodes are not as a gate asks, in words; undefined where all are. Those that a rollout has in hand are left out:
 * they are out of service on purpose, and its budget counts them. Those that are held count.
 */
export function unwellNodes({ conditions, selector }: Nodes, nodes: Iterable<HealthNode>): string | undefined {
  const wanted = conditions ?? [{ type: 'Ready', status: 'True' as const }];
  const meant = [...nodes].filter(
    ({ labels, owner }) => matches(selector, labels) && (owner === undefined || heldFor(owner) !== undefined),
  );
  if (meant.length === 0) return selector === undefined ? undefined : 'no node has the labels of its selector';
  return wrongOf(
    meant.flatMap((node) =>
      wanted.map(({ type, status }) => {
        const is = type === 'Ready' ? readyOf(node) : node.conditions?.[type];
        const since = type === 'Ready' && node.notReadySince !== undefined ? ` since ${node.notReadySince}` : '';
        return is === status
          ? undefined
          : `node ${node.name}: ${type} is ${is ?? 'not there'}${since}, should be ${status}`;
      }),
    ),
  );
}

/** A Node whose kubelet is silent has Unknown in its conditions. */
const readyOf = ({ ready, conditions }: HealthNode) => conditions?.['Ready'] ?? (ready ? 'True' : 'False');

/** Which workloads are not whole, in words; undefined where all are. */
export function unwellWorkloads(
  { kind, namespace, name, selector }: Workloads,
  found: readonly Workload[],
): string | undefined {
  if (found.length === 0)
    return name === undefined
      ? `no ${kind} in namespace ${namespace} has the labels of its selector${selector === undefined ? '' : ` (${JSON.stringify(selector)})`}`
      : `there is no ${kind} ${namespace}/${name}`;
  return wrongOf(found.map((workload) => unwell(kind, namespace, workload)));
}

function unwell(kind: Workloads['kind'], namespace: string, workload: Workload): string | undefined {
  const { metadata, spec = {}, status = {} } = workload;
  const object = `${kind} ${namespace}/${metadata.name}`;
  const { generation = 0 } = metadata;
  if ((status.observedGeneration ?? 0) < generation)
    return `${object}: its controller has seen generation ${status.observedGeneration ?? 0}, should be ${generation}`;
  const daemons = kind === 'DaemonSet';
  const wanted = daemons ? (status.desiredNumberScheduled ?? 0) : (spec.replicas ?? 1);
  const available = (daemons ? status.numberAvailable : status.availableReplicas) ?? 0;
  return available < wanted
    ? `${object}: ${available} of ${wanted} pods are available, should be ${wanted}`
    : undefined;
}

/** An object of any kind. */
export interface AnyObject {
  metadata: { name: string; namespace?: string };
}

/** Which objects have another value in the field than they should, in words; undefined where none has. */
export function unwellFields({ kind, namespace, name, jsonPath, equals }: Field, found: readonly AnyObject[]) {
  const place = namespace === undefined ? '' : `${namespace}/`;
  if (found.length === 0)
    return name === undefined
      ? `no ${kind}${namespace === undefined ? '' : ` in namespace ${namespace}`} has the labels of its selector`
      : `there is no ${kind} ${place}${name}`;
  return wrongOf(
    found.map((object) => {
      const values = valuesAt(jsonPath, object).map(asText);
      if (values.length > 0 && values.every((value) => value === equals)) return undefined;
      const is =
        values.length === 0 ? 'not there' : values.map((value) => JSON.stringify(value.slice(0, 200))).join(', ');
      return `${kind} ${place}${object.metadata.name}: ${jsonPath} is ${is}, should be ${JSON.stringify(equals)}`;
    }),
  );
}

/** The query that a gate asks: its own, or that for the alerts which are firing. */
export const queryOf = ({ query, alerts }: Prometheus): string =>
  query ??
  `ALERTS{alertstate="firing"${alerts?.selector === undefined || alerts.selector === '' ? '' : `,${alerts.selector}`}}`;

/** What of an answer of Prometheus is not as a gate asks, in words; undefined where all is. */
export function unwellSamples(gate: Prometheus, samples: readonly Sample[]): string | undefined {
  if (gate.alerts !== undefined)
    return wrongOf(samples.map(({ labels }) => `alert ${labels['alertname'] ?? ''} is firing${labelText(labels)}`));
  if (samples.length === 0) return `the query ${gate.query} has no samples, should have some`;
  return wrongOf(
    samples.map(({ labels, value }) =>
      holds(gate, value) ? undefined : `${gate.query}${labelText(labels)} is ${value}, should be ${wantedText(gate)}`,
    ),
  );
}

const holds = ({ equals, above, below }: Prometheus, value: number) =>
  (equals === undefined || value === Number(equals)) &&
  (above === undefined || value > Number(above)) &&
  (below === undefined || value < Number(below)) &&
  !Number.isNaN(value);

const wantedText = ({ equals, above, below }: Prometheus) =>
  [
    equals === undefined ? [] : [equals],
    above === undefined ? [] : [`above ${above}`],
    below === undefined ? [] : [`below ${below}`],
  ]
    .flat()
    .join(' and ');

/** The labels that tell one series from another, at most five. */
function labelText(labels: Readonly<Record<string, string>>): string {
  const told = Object.entries(labels).filter(([name]) => !['__name__', 'alertname', 'alertstate'].includes(name));
  return told.length === 0
    ? ''
    : ` {${told
        .slice(0, 5)
        .map(([name, value]) => `${name}="${value}"`)
        .join(', ')}}`;
}
