import pino from 'pino';
import type { Asked } from '../../api/control-messages.ts';
import type { PlanInput, RolloutInput } from '../../api/messages.ts';
import type { KubeRequest } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { EngineState } from '../../policy/engine.ts';
import type { UpdateAnswer } from '../../watcher/engine.ts';
import type { WatcherContext } from '../../watcher/context.ts';

const CLUSTER = { uid: 'c0ffee00', id: 'kairos-c0ffee00' };
export const UPGRADE_ID = 'rollout/kairos-c0ffee00/fleet/v4';

/** What the watcher asked for, in order; a look that follows when the rollout has closed is `looks again`. */
export type Done = string[];

/** A watcher whose Temporal and API server answer what a row says, and note what is asked of them. */
export function watcher(
  engine: EngineState | undefined,
  answer: (request: KubeRequest) => unknown,
  answered: UpdateAnswer = { accepted: true, message: 'it is' },
  terminated?: Asked,
) {
  const done: Done = [];
  /** With what rollouts were started. */
  const inputs: RolloutInput[] = [];
  /** What was said with each cancel. */
  const whys: Record<string, string>[] = [];
  const note = (what: string) => {
    done.push(what);
    return Promise.resolve();
  };
  const context = {
    cluster: CLUSTER,
    namespace: 'kairos-system',
    namespaces: ['fleet'],
    log: pino({ level: 'silent' }),
    client: { request: (request: KubeRequest) => Promise.resolve(answer(request)) },
    engine: {
      searchAttributes: true,
      describe: () =>
        engine === undefined ? Promise.reject(new Error('Temporal does not answer')) : Promise.resolve(engine),
      start: (_id: string, input: RolloutInput) => {
        inputs.push(input);
        const { request } = input;
        return note(`start ${request.attempt}${request.retry === undefined ? '' : ` answering ${request.retry}`}`);
      },
      cancel: (_id: string, why: Record<string, string>) => {
        whys.push(why);
        return note('cancel');
      },
      terminatedBy: () => Promise.resolve(terminated),
      signal: (_id: string, name: string, { by }: { by: string }) => note(`${name} by ${by}`),
      update: (_id: string, name: string, message: object, updateID: string) =>
        note(`${name} ${JSON.stringify(message)} as ${updateID.replace(/[^/]+$/, '…')}`).then(() => answered),
      startPlan: (id: string, { asked, request }: PlanInput, _summary: string, forWhich: string) =>
        note(`start ${id} for attempt ${request.attempt}, asked ${asked}, as ${forWhich.replace(/[^/]+$/, '…')}`),
      planAnswer: () => Promise.resolve(answered),
      startNode: (id: string, { recover }: { recover?: boolean }) => note(`start ${id}${recover ? ' to recover' : ''}`),
    },
    uninstall: { now: () => Promise.resolve(undefined) },
    closings: { watch: () => void note('looks again') },
    defaults: {},
    upgrades: new Map(),
    kairosNodes: new Map<string, KairosNodeView>(),
    nodes: new Map<string, NodeView>(),
  };
  const { nodes, kairosNodes } = context;
  return { context: context as unknown as WatcherContext, done, note, nodes, kairosNodes, whys, inputs };
}

export const notFound = ({ verb, path }: KubeRequest): never => {
  throw new KubeError('not there', { verb, path, code: 404, reason: 'NotFound', retryable: false });
};
