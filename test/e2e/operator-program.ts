import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Stage } from './stage.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NAMESPACE = 'kairos-system';

/** A program of the operator that ends by itself, as a Job of the cluster would run it. */
export interface OperatorProgram {
  readonly process: ChildProcess;
  /** What it has said until now. */
  text(): string;
  /** Its exit code and all that it said; waits for its end. */
  readonly ended: Promise<{ code: number | null; text: string }>;
}

/** Starts `uninstall` or `check` with the ServiceAccount of that name, and with no other rights. */
export async function startOperatorProgram(
  stage: Stage,
  name: 'uninstall' | 'check',
  env: Record<string, string> = {},
): Promise<OperatorProgram> {
  const { status } = await stage.client.request<{ status: { token: string } }>({
    verb: 'create',
    path: `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/kairos-${name}/token`,
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } },
  });
  const { controlPlane } = stage.cluster;
  const child = spawn(process.execPath, ['--no-warnings', path.join(ROOT, name, 'main.ts')], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      HOME: stage.folder,
      KUBECONFIG: controlPlane.kubeconfigFor({ name: `kairos-${name}`, token: status.token }),
      KAIROS_CLUSTER_NAME: 'e2e',
      TEMPORAL_ADDRESS: stage.temporalServer.address,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => void (text += data.toString()));
  const ended = new Promise<{ code: number | null; text: string }>((resolve, reject) => {
    child.on('error', reject).on('close', (code) => resolve({ code, text }));
  });
  return { process: child, text: () => text, ended };
}
