import type { RealStage } from './stage.ts';

/** What an agent's token was tried for, and what the API server answered: an HTTP status. */
export interface Tried {
  readonly token: { readonly audiences: readonly string[]; readonly node: string };
  readonly answers: Readonly<Record<string, number>>;
}

const NODES = '/apis/kairos.io/v1alpha1/kairosnodes';
const MERGE = 'application/merge-patch+json';

/**
 * Uses the token of the agent on a node from inside its pod, with the node of its image, as somebody would who took the
 * pod over: for what it may do, and for what it must not.
 */
export async function tryAgentToken(stage: RealStage, own: string, other: string): Promise<Tried> {
  const patch = (path: string, body: object) => ['PATCH', path, body] as const;
  const attempts: Record<string, readonly [string, string, object?]> = {
    'read its own KairosNode': ['GET', `${NODES}/${own}`],
    'report to its own KairosNode': patch(`${NODES}/${own}/status`, { status: { agentVersion: 'tried' } }),
    'report to another KairosNode': patch(`${NODES}/${other}/status`, { status: { agentVersion: 'tried' } }),
    'write a verdict': patch(`${NODES}/${own}/status`, { status: { upgradeState: 'Completed' } }),
    'order an upgrade of its own node': patch(`${NODES}/${own}`, { spec: { image: 'evil.example.com/image:1' } }),
    'list KairosNodes': ['GET', NODES],
    'list Nodes': ['GET', '/api/v1/nodes'],
    'read Secrets': ['GET', '/api/v1/namespaces/kairos-system/secrets'],
    'cordon its Node': patch(`/api/v1/nodes/${own}`, { spec: { unschedulable: true } }),
    'make a pod': ['POST', '/api/v1/namespaces/kairos-agent/pods', { metadata: { name: 'evil' } }],
  };
  const pod = await stage.kubectl(
    'get',
    'pods',
    '-n',
    'kairos-agent',
    '--field-selector',
    `spec.nodeName=${own},status.phase=Running`,
    '-o',
    'jsonpath={.items[0].metadata.name}',
  );
  const program = `(${inPod.toString()})(${JSON.stringify(attempts)}, ${JSON.stringify(MERGE)})`;
  const answer = await stage.kubectl('exec', '-n', 'kairos-agent', pod, '--', '/nodejs/bin/node', '-e', program);
  return JSON.parse(answer) as Tried;
}

/** Runs in the pod: plain JavaScript, without anything of this file. */
async function inPod(attempts: Record<string, readonly [string, string, object?]>, merge: string): Promise<void> {
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const { request } = process.getBuiltinModule('node:https');
  const folder = '/var/run/secrets/kairos.io/agent';
  const token = readFileSync(`${folder}/token`, 'utf8');
  const ask = (method: string, path: string, body?: object) =>
    new Promise<number>((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': method === 'PATCH' ? merge : 'application/json',
      };
      const host = process.env['KUBERNETES_SERVICE_HOST'];
      const port = process.env['KUBERNETES_SERVICE_PORT'];
      const sent = request({ host, port, method, path, headers, ca: readFileSync(`${folder}/ca.crt`) }, (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode ?? 0));
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const answers: Record<string, number> = {};
  for (const [name, [method, path, body]] of Object.entries(attempts)) answers[name] = await ask(method, path, body);
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  process.stdout.write(
    JSON.stringify({ token: { audiences: claims.aud, node: claims['kubernetes.io'].node.name }, answers }),
  );
}
