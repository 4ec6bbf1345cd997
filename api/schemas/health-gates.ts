import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { cel, duration, mapList, written } from './meta.ts';

const objectName = (what: string) => written(/^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$/, `write the name of ${what}`).max(253);
const namespace = () => written(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'write the name of a namespace').max(63);

const ONE_OF_NAME = {
  rule: 'has(self.name) != has(self.selector)',
  message: 'say which objects are meant by name or by selector: one of the two',
};

const nodesGate = z
  .object({
    conditions: z
      .array(
        z
          .object({
            type: z.string().min(1).max(316).describe('Type of the condition, such as Ready or KernelDeadlock.'),
            status: z.enum(['True', 'False', 'Unknown']).describe('The status that it must have.'),
          })
          .describe('A condition of a Node.'),
      )
      .min(1)
      .max(20)
      .describe('What must hold of each of these nodes. Default: Ready is True.')
      .optional(),
    selector: labelSelector.describe('Which nodes, by their labels. Default: all of the cluster.').optional(),
  })
  .describe('Conditions of Nodes. Nodes that a rollout has in hand are not looked at.');

const workloadsGate = z
  .object({
    kind: z.enum(['Deployment', 'DaemonSet', 'StatefulSet']).describe('Their kind.'),
    namespace: namespace().describe('Their namespace.'),
    name: objectName('a workload').describe('One of them.').optional(),
    selector: labelSelector.describe('Those with these labels; at least one must be there.').optional(),
  })
  .meta(cel(ONE_OF_NAME))
  .describe('Workloads whose pods must all be available.');

/** `.a.b[0].c`, `.a['b.c']` and `.a[?(@.type=="Ready")].status`, with or without the braces of kubectl. */
const JSON_PATH =
  /^\{?([.]([A-Za-z0-9_$-]|\\[.])+|\[[0-9]{1,4}\]|\[[*]\]|\["[^"\]]+"\]|\[[?]\(@([.]([A-Za-z0-9_$-]|\\[.])+)+==("[^"]*"|[0-9.]+|true|false)\)\])+\}?$/;

const fieldGate = z
  .object({
    apiVersion: written(/^([a-z0-9.-]+\/)?[a-z0-9]+$/, 'write an API version such as v1 or apps/v1')
      .max(317)
      .describe('API version of the resource.'),
    kind: written(/^[A-Z][A-Za-z0-9]*$/, 'write a kind such as ConfigMap')
      .max(63)
      .describe('Kind of the resource.'),
    namespace: namespace().describe('Its namespace; left out for what has none.').optional(),
    name: objectName('an object').describe('One object.').optional(),
    selector: labelSelector.describe('All objects with these labels; at least one must be there.').optional(),
    jsonPath: written(
      JSON_PATH,
      'write a path such as .status.phase, .status.conditions[?(@.type=="Ready")].status or .metadata.labels["a.b/c"]',
    )
      .max(500)
      .describe('The field, as in kubectl wait: .status.phase, .items[0].x, .conditions[?(@.type=="Ready")].status.'),
    equals: z.string().max(1000).describe('What it must be, as text; true, 3 and "3" are written so.'),
  })
  .meta(cel(ONE_OF_NAME))
  .describe('A field of any resource that the worker may read (worker.mayRead of the chart).');

const number = () => written(/^[+-]?([0-9]+([.][0-9]+)?|[.][0-9]+)$/, 'write a number such as "0.05"').max(30);

const prometheusGate = z
  .object({
    url: written(/^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/, 'write an address such as http://prometheus.monitoring:9090')
      .max(500)
      .describe('Address of Prometheus, or of something with its API, without /api/v1.'),
    query: z
      .string()
      .min(1)
      .max(4000)
      .describe(
        'A query whose every sample must be as equals, above and below say; one without samples closes the gate.',
      )
      .optional(),
    equals: number().describe('What each sample must be, as a number in quotes.').optional(),
    above: number().describe('What each sample must be more than.').optional(),
    below: number().describe('What each sample must be less than.').optional(),
    alerts: z
      .object({
        selector: z
          .string()
          .max(1000)
          .describe('Which, by their labels, such as severity="critical". Default: all.')
          .optional(),
      })
      .describe('Alerts of which none may be firing.')
      .optional(),
  })
  .meta(
    cel(
      {
        rule: 'has(self.query) != has(self.alerts)',
        message: 'ask by query or by alerts: one of the two',
      },
      {
        rule: '!has(self.query) || has(self.equals) || has(self.above) || has(self.below)',
        message: 'say what the samples of query must be: equals, above or below',
      },
      {
        rule: '!has(self.alerts) || !(has(self.equals) || has(self.above) || has(self.below))',
        message: 'equals, above and below are of query: leave them out beside alerts',
      },
      {
        rule: '!has(self.equals) || !(has(self.above) || has(self.below))',
        message: 'equals leaves no room for above or below: keep one',
      },
    ),
  )
  .describe('What a Prometheus says.');

const healthGate = z
  .object({
    name: written(
      /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/,
      'write a name of at most 40 lower-case letters, digits and dashes',
    )
      .max(40)
      .describe('Name of the gate: in messages and in the status.'),
    nodes: nodesGate.optional(),
    workloads: workloadsGate.optional(),
    field: fieldGate.optional(),
    prometheus: prometheusGate.optional(),
    timeout: duration()
      .describe('How long a node, or the rollout after a wave, may wait for it. Default: strategy.gateTimeout.')
      .optional(),
    interval: duration()
      .describe(
        'How old an answer may be; asked anew by then, once for all nodes that wait. At least 1s. Not for nodes, which are watched. Default 10s.',
      )
      .optional(),
  })
  .meta(
    cel(
      {
        rule: '[has(self.nodes), has(self.workloads), has(self.field), has(self.prometheus)].filter(given, given).size() == 1',
        message: 'a health gate asks one thing: nodes, workloads, field or prometheus',
      },
      {
        rule: "!has(self.interval) || duration(self.interval) >= duration('1s')",
        message: 'interval must be at least 1s',
        fieldPath: '.interval',
      },
    ),
  )
  .describe('What must be well before a node is started, and after each wave.');

export const healthGates = mapList(healthGate, 'name')
  .min(1)
  .max(20)
  .describe('What must be well before each node is started, and after each wave. Default: nothing.');
