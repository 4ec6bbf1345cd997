import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { InstallerError, NAMESPACE, readImage, renderChart, renderInstaller, runCommand } from './installer.ts';

const GUARD = 'kairos-uninstall';
const GUARD_FILES = ['rbac', 'network-policy', 'job'].map((name) => `--show-only=templates/uninstall/${name}.yaml`);
const POLL_MS = 1_000;

/**
 * Deletes what the plain manifests installed, but the resource definitions. First the guard of the uninstall is run, as
 * Helm does it: it refuses while a node is past the point of no return.
 */
async function undeploy(): Promise<void> {
  const deployed = await deployedImage();
  const operator = deployed ?? readImage('IMG', 'none:none');
  const images = { operator, agent: operator };
  if (deployed === undefined) console.log(`there is no watcher in ${NAMESPACE}: deleting what else is there`);
  else if (process.env['GUARD'] === '0') console.log('GUARD=0: nodes that are being upgraded stay cordoned');
  else await runGuard(await renderChart(images, '--set=uninstallGuard.enabled=true', ...GUARD_FILES));
  const installed = await renderInstaller(images, '--set=crds.install=false');
  console.log(await kubectl(installed, 'delete', '--ignore-not-found', '--filename=-'));
  console.log('the resource definitions are still there, with all KairosNodes: make uninstall deletes them');
}

/** That of the watcher; undefined where there is none. */
async function deployedImage() {
  const path = 'jsonpath={.spec.template.spec.containers[0].image}';
  const asked = ['deployment', 'kairos-watcher', `--namespace=${NAMESPACE}`, '--ignore-not-found', `--output=${path}`];
  const image = await kubectl('', 'get', ...asked);
  return image === '' ? undefined : readImage('the image of the watcher', image);
}

/** @throws InstallerError with what the guard says, when it refuses or does not come to an end in its time */
async function runGuard(manifests: string): Promise<void> {
  await kubectl(manifests, 'delete', '--ignore-not-found', '--filename=-');
  console.log(
    'cancelling rollouts, and waiting until no node is in hand (GUARD=0 skips this, at the cost of those nodes)',
  );
  try {
    await kubectl(manifests, 'apply', '--server-side', '--filename=-');
    const ended = await endOfGuard();
    const log = await wordsOfGuard();
    if (ended !== 'Complete') throw new InstallerError(`${log}\nnothing was deleted: the guard said no (${ended})`);
    console.log(log);
  } finally {
    await kubectl(manifests, 'delete', '--ignore-not-found', '--filename=-');
  }
}

async function endOfGuard(): Promise<string> {
  const path = 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {.reason}{"\\n"}{end}';
  for (;;) {
    const text = await kubectl('', 'get', 'job', GUARD, `--namespace=${NAMESPACE}`, `--output=${path}`);
    const end = text.split('\n').find((line) => /^(Complete|Failed)\b/.test(line));
    if (end !== undefined) return end.startsWith('Complete') ? 'Complete' : end;
    await sleep(POLL_MS);
  }
}

/** Its log; where there is none, as its node is gone or does not answer, what the pod itself has of it. */
async function wordsOfGuard(): Promise<string> {
  const pods = [`--namespace=${NAMESPACE}`, `--selector=job-name=${GUARD}`];
  const path = 'jsonpath={range .items[*].status.containerStatuses[*]}{.state.terminated.message}{"\\n"}{end}';
  const log = await kubectl('', 'logs', ...pods, '--tail=-1').catch(() => '');
  const words = log === '' ? await kubectl('', 'get', 'pods', ...pods, `--output=${path}`) : log;
  return words === '' ? 'what the guard said cannot be read' : words;
}

/** What kubectl prints for this input. Throws InstallerError with what it complains of. */
function kubectl(input: string, ...args: string[]): Promise<string> {
  const command = process.env['KUBECTL'] || 'kubectl';
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout.trim());
      else if (error.code === 'ENOENT')
        reject(new InstallerError(`${command} is missing: install kubectl, or name it by KUBECTL=`));
      else reject(new InstallerError(stderr.trim() || error.message, { cause: error }));
    });
    child.stdin?.end(input);
  });
}

await runCommand(undeploy);
