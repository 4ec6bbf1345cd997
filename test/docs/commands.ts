import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { resolveTool } from '../../tools/resolve.ts';
import type { Stage } from '../e2e/stage.ts';
import { commandLines, documentText } from './documents.ts';

/** Every command that the documents show for steering a rollout, and the words that only its line has. */
export const COMMANDS = {
  'kubectl look': 'kubectl get -n kairos-system nodeopupgrades,kairosnodes',
  'kubectl pause': 'kairos.io/pause="disk alarm in rack 4"',
  'kubectl resume': 'kairos.io/pause-',
  'kubectl approve': 'kairos.io/approve=',
  'kubectl skip': 'kairos.io/skip=',
  'kubectl retry of a node': 'kairos.io/retry-node=worker-1',
  'kubectl abort': 'kairos.io/abort=',
  'kubectl plan': 'kairos.io/plan=',
  'kubectl retry': 'nodeopupgrade hadron-v4.0.3 --overwrite kairos.io/retry=',
  'kubectl delete': /kubectl delete .* hadron-v4\.0\.3$/,
  'kubectl delete, without waiting': /kubectl delete .* hadron-v4\.0\.3 --wait=false$/,
  'kubectl retry of a KairosNode': 'kubectl annotate kairosnode worker-1 --overwrite kairos.io/retry=',
  'kubectl free': 'kubectl annotate node worker-1 kairos.io/upgrade-owner-',
  'kubectl uncordon': 'kubectl uncordon worker-1',
  'id of the rollout': /^rollout=/,
  'id of the wave': /^wave=/,
  'id of the node': /^node=/,
  list: 'temporal workflow list',
  query: 'temporal workflow query',
  'update pause': 'update execute --workflow-id "$rollout" --name pause',
  'update resume': 'update execute --workflow-id "$rollout" --name resume',
  'update approve': 'update execute --workflow-id "$rollout" --name approve',
  'update skip': 'update execute --workflow-id "$rollout" --name skip',
  'update retry of a node': `update execute --workflow-id "$rollout" --name retry --input '{"node"`,
  'update retry of all': `update execute --workflow-id "$rollout" --name retry --input '{}'`,
  'update abort': 'update execute --workflow-id "$rollout" --name abort',
  'signal pause': 'signal --workflow-id "$rollout" --name pause',
  'signal resume': 'signal --workflow-id "$rollout" --name resume',
  'cancel of the rollout': 'workflow cancel --workflow-id "$rollout"',
  'cancel of the wave': 'workflow cancel --workflow-id "$wave"',
  'cancel of the node': 'workflow cancel --workflow-id "$node"',
  'terminate of the rollout': 'workflow terminate --workflow-id "$rollout"',
  'terminate of the wave': 'workflow terminate --workflow-id "$wave"',
  'terminate of the node': 'workflow terminate --workflow-id "$node"',
} as const satisfies Record<string, string | RegExp>;
export type Command = keyof typeof COMMANDS;

/** Which of them each test on a real cluster runs. */
export const RUN_BY: Record<string, readonly Command[]> = {
  'test/e2e/control.server.test.ts': [
    'kubectl look',
    'kubectl pause',
    'kubectl resume',
    'kubectl retry',
    'kubectl delete',
    'kubectl delete, without waiting',
    'id of the rollout',
    'id of the wave',
    'id of the node',
    'list',
    'query',
    'update pause',
    'update resume',
    'signal pause',
    'signal resume',
    'cancel of the rollout',
    'cancel of the wave',
    'cancel of the node',
    'terminate of the rollout',
    'terminate of the wave',
    'terminate of the node',
  ],
  'test/e2e/requests.server.test.ts': [
    'kubectl approve',
    'kubectl skip',
    'kubectl retry of a node',
    'kubectl abort',
    'update approve',
    'update skip',
    'update retry of a node',
    'update retry of all',
    'update abort',
  ],
  'test/e2e/plan.server.test.ts': ['kubectl plan'],
  'test/e2e/held.server.test.ts': ['kubectl retry of a KairosNode', 'kubectl free', 'kubectl uncordon'],
};

/** The lines that are to be run, as the documents have them. */
export const documentedLines = (): string[] => [
  ...new Set([
    ...commandLines(documentText('docs/control.md')),
    ...commandLines(documentText('README.md', 'Look and steer')),
  ]),
];

export const isLineOf = (command: Command, line: string): boolean => {
  const words: string | RegExp = COMMANDS[command];
  return typeof words === 'string' ? line.includes(words) : words.test(line);
};

/** A shell with the programs and the variables that the documents take for granted. */
export interface DocumentedShell {
  /** Runs the lines of these commands, one after the other, after the lines that name the ids. Answers what they print. */
  run(...commands: Command[]): Promise<string>;
  /** Which have been run. */
  readonly ran: ReadonlySet<Command>;
}

const IDS: readonly Command[] = ['id of the rollout', 'id of the wave', 'id of the node'];

export async function documentedShell(stage: Stage): Promise<DocumentedShell> {
  const bin = join(stage.folder, 'bin');
  mkdirSync(bin);
  for (const tool of ['kubectl', 'temporal'] as const) symlinkSync(await resolveTool(tool), join(bin, tool));
  const env = {
    PATH: `${bin}:/usr/bin:/bin`,
    HOME: stage.folder,
    KUBECONFIG: stage.cluster.controlPlane.adminKubeconfig,
    TEMPORAL_ADDRESS: stage.temporalServer.address,
  };
  const lines = documentedLines();
  const linesOf = (command: Command) => lines.filter((line) => isLineOf(command, line));
  const ran = new Set<Command>();
  return {
    ran,
    async run(...commands) {
      const own = commands.flatMap(linesOf);
      const named = own.some((line) => /\$(?:rollout|wave|node)\b/.test(line)) ? IDS : [];
      const script = [...named.flatMap(linesOf), ...own].join('\n');
      const child = spawn('bash', ['-euc', script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      const code = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
      const [out, err, ended] = await Promise.all([text(child.stdout), text(child.stderr), code]);
      if (ended !== 0) throw new Error(`${own.join('; ')}: ${err}${out}`);
      for (const command of [...commands, ...named]) ran.add(command);
      return `${out}${err}`.trim();
    },
  };
}
