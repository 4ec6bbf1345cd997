import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { CRD_FOLDER } from '../../tools/generate-crds.ts';
import { resolveTool } from '../../tools/resolve.ts';

const SAMPLES = join(CRD_FOLDER, '..', 'samples');
const CRDS = ['kairosnodes.kairos.io', 'nodeopupgrades.operator.kairos.io'];

let folder: string;
let cluster: ControlPlane;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kairos-crds-'));
  cluster = await startControlPlane({ folder });
  await kubectl(['create', 'namespace', 'kairos-system']);
  await kubectl(['apply', '--server-side', '-f', CRD_FOLDER]);
  await kubectl(['wait', '--for=condition=Established', '--timeout=20s', ...CRDS.map((name) => `crd/${name}`)]);
}, 120_000);

afterAll(async () => {
  await cluster?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** stdout, or stderr as the error's message. Input is YAML or JSON for `-f -`. */
async function kubectl(args: string[], input = ''): Promise<string> {
  const running = promisify(execFile)(await resolveTool('kubectl'), [
    `--kubeconfig=${cluster.adminKubeconfig}`,
    ...args,
  ]);
  running.child.stdin?.end(input);
  return (await running).stdout;
}

const dryRun = ['apply', '--server-side', '--dry-run=server', '-f'];

/** What the user reads when the object is refused; the empty string when it is accepted. */
async function refusal(object: object): Promise<string> {
  try {
    await kubectl([...dryRun, '-'], JSON.stringify(object));
    return '';
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

const upgrade = (spec: object): object => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'kairos-system' },
  spec,
});
const image = 'quay.io/kairos/hadron:v4.0.3';
const strategy = (fields: object): object => upgrade({ image, strategy: fields });
const node = (spec: object): object => ({
  apiVersion: 'kairos.io/v1alpha1',
  kind: 'KairosNode',
  metadata: { name: 'worker-1' },
  spec,
});

describe('the API server', () => {
  it.each(CRDS)('takes %s with a structural schema and a status subresource', async (name) => {
    const { spec, status } = JSON.parse(await kubectl(['get', 'crd', name, '-o', 'json']));
    const conditions = status.conditions.map((c: { type: string; status: string }) => `${c.type}=${c.status}`);
    expect(conditions).toEqual(expect.arrayContaining(['NamesAccepted=True', 'Established=True']));
    expect(conditions.join()).not.toContain('NonStructuralSchema');
    expect(spec.versions[0].subresources).toEqual({ status: {} });
  });

  it('accepts every sample', async () => {
    const samples = (await readdir(SAMPLES)).filter((name) => name !== 'kustomization.yaml');
    expect(samples.length).toBeGreaterThanOrEqual(2);
    for (const sample of samples) {
      expect(await kubectl([...dryRun, join(SAMPLES, sample)])).toContain('serverside-applied (server dry run)');
    }
  });

  it('accepts the specs that users of the earlier operator wrote', async () => {
    const spec = {
      image,
      imagePullSecrets: [{ name: 'registry' }],
      nodeSelector: { matchLabels: { 'kairos.io/managed': 'true' } },
      concurrency: 2,
      stopOnFailure: true,
      upgradeActive: true,
      upgradeRecovery: true,
      force: false,
      debug: true,
      uncordonOnFailure: true,
      excludePaths: ['/etc/issue'],
    };
    expect(await refusal(upgrade(spec))).toBe('');
  });

  it('accepts every form of strategy', async () => {
    const fields = { maxUnavailable: '25%', soak: '1h30m', gateTimeout: '2h', prePull: { timeout: '30m', ahead: 4 } };
    expect(await refusal(strategy({ ...fields, drain: { timeout: '15m' }, reboot: { timeout: '90s' } }))).toBe('');
  });

  it('accepts every form of drain', async () => {
    const drain = {
      timeout: '20m',
      deleteEmptyDirData: false,
      force: true,
      gracePeriodSeconds: -1,
      podSelector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] },
      skipWaitForDeleteTimeout: '1m',
      volumeDetachTimeout: '0s',
      waitForCompletion: { podSelector: { matchLabels: { app: 'job' } }, timeout: '19m59s' },
      onTimeout: 'DeleteUnhealthy',
      overridableBudgets: [{ namespace: 'db', name: 'pg' }],
      forceDeleteAfter: '2m',
    };
    expect(await refusal(strategy({ drain }))).toBe('');
  });

  it('accepts every form of windows and health gates', async () => {
    const selector = { matchLabels: { app: 'x' } };
    const windows = [
      { cron: '*/15 22-23,0 L * MON-FRI', duration: '168h', timeZone: 'America/Argentina/Buenos_Aires' },
      { cron: '0 3 * * TUE#2', duration: '1h30m' },
    ];
    const field = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'a', selector, equals: 'True' };
    const healthGates = [
      { name: 'a', nodes: { conditions: [{ type: 'Ready', status: 'True' }], selector }, timeout: '1h' },
      { name: 'b', workloads: { kind: 'DaemonSet', namespace: 'a', name: 'x.y' }, interval: '1s' },
      { name: 'c', field: { ...field, jsonPath: '{.status.conditions[?(@.type=="Ready")].status}' } },
      { name: 'd', field: { ...field, jsonPath: '.metadata.annotations["a.b/c"]' } },
      { name: 'e', prometheus: { url: 'https://p.example:9090/prom', query: 'up{a="b"}', above: '-1', below: '.5' } },
      { name: 'f', prometheus: { url: 'http://[::1]:9090', alerts: { selector: 'severity="critical"' } } },
    ];
    expect(await refusal(strategy({ windows, healthGates }))).toBe('');
  });

  const health = (gate: object) => strategy({ healthGates: [{ name: 'a', ...gate }] });
  const window = (more: object) => strategy({ windows: [{ cron: '0 22 * * *', duration: '1h', ...more }] });
  it.each<[string, object, string[]]>([
    ['six fields of cron', window({ cron: '0 0 22 * * *' }), ['windows[0].cron', 'write five fields']],
    ['a window of no time', window({ duration: '0s' }), ['more than 0s and at most 168h']],
    ['a window of more than a week', window({ duration: '169h' }), ['more than 0s and at most 168h']],
    ['an offset for a time zone', window({ timeZone: '+02:00' }), ['windows[0].timeZone', 'such as Europe/Berlin']],
    ['a gate that asks nothing', health({}), ['a health gate asks one thing']],
    [
      'no sign of how a sample must be',
      health({ prometheus: { url: 'http://p', query: 'up' } }),
      ['equals, above or below'],
    ],
    [
      'a name and a selector',
      health({ workloads: { kind: 'Deployment', namespace: 'a', name: 'x', selector: {} } }),
      ['by name or by selector'],
    ],
    [
      'a path that is none',
      health({ field: { apiVersion: 'v1', kind: 'Pod', name: 'x', jsonPath: 'status.phase', equals: 'x' } }),
      ['field.jsonPath', 'write a path such as .status.phase'],
    ],
    ['an interval of nothing', health({ nodes: {}, interval: '0s' }), ['interval must be at least 1s']],
    ['no image', upgrade({}), ['spec.image', 'Required value']],
    ['an empty image', upgrade({ image: '' }), ['spec.image', 'write an image reference such as quay.io/']],
    ['the source form of kairos-agent', upgrade({ image: `oci:${image}` }), ['spec.image', 'no oci: or https://']],
    ['a web address', upgrade({ image: `https://${image}` }), ['spec.image', 'no oci: or https://']],
    ['a + in the tag', upgrade({ image: `${image}+k3s1` }), ['spec.image', 'tags cannot hold +']],
    [
      'a misspelt field',
      strategy({ maxUnavailble: 3 }),
      ['.spec.strategy.maxUnavailble', 'field not declared in schema'],
    ],
    ['maxUnavailable: 0', strategy({ maxUnavailable: 0 }), ['maxUnavailable', 'a whole number of at least 1']],
    ['maxUnavailable: "3"', strategy({ maxUnavailable: '3' }), ['maxUnavailable', 'a percentage from 1% to 100%']],
    ['maxUnavailable: 150%', strategy({ maxUnavailable: '150%' }), ['maxUnavailable', 'from 1% to 100%']],
    ['maxUnavailable: 1.5', strategy({ maxUnavailable: 1.5 }), ['maxUnavailable', 'integer']],
    ['a soak in words', strategy({ soak: '5 minutes' }), ['strategy.soak', 'a duration such as 30s, 15m or 1h30m']],
    ['a soak without unit', strategy({ soak: '30' }), ['strategy.soak', 'a duration such as 30s']],
    ['a timeout in days', strategy({ drain: { timeout: '1d' } }), ['drain.timeout', 'a duration such as 30s']],
    ['an unknown end of a drain', strategy({ drain: { onTimeout: 'Evict' } }), ['drain.onTimeout', '"Delete"']],
    ['a grace period below -1', strategy({ drain: { gracePeriodSeconds: -2 } }), ['greater than or equal to -1']],
    [
      'budgets to go past where nothing is deleted',
      strategy({ drain: { overridableBudgets: [{ namespace: 'db', name: 'pg' }] } }),
      ['strategy.drain', 'set onTimeout to Delete or DeleteUnhealthy, or leave it out'],
    ],
    [
      'a kill where nothing is deleted',
      strategy({ drain: { onTimeout: 'Skip', forceDeleteAfter: '1m' } }),
      ['forceDeleteAfter counts from a deletion'],
    ],
    [
      'a kill after the end',
      strategy({ drain: { onTimeout: 'Delete', timeout: '1m', forceDeleteAfter: '1m' } }),
      ['forceDeleteAfter must be shorter than timeout'],
    ],
    [
      'a Job that may take longer than the drain',
      strategy({ drain: { waitForCompletion: { timeout: '15m' } } }),
      ['waitForCompletion.timeout must be shorter than timeout (default 15m)'],
    ],
    ['Jobs without a limit', strategy({ drain: { waitForCompletion: {} } }), ['waitForCompletion.timeout', 'Required']],
    [
      'a wrong label of pods',
      strategy({ drain: { podSelector: { matchLabels: { 'my app': 'x' } } } }),
      ['drain.podSelector.matchLabels', 'write label keys'],
    ],
    ['no pull ahead', strategy({ prePull: { ahead: 0 } }), ['prePull.ahead', 'greater than or equal to 1']],
    [
      'two ways to say how many',
      upgrade({ image, concurrency: 2, strategy: { maxUnavailable: 3 } }),
      ['keep strategy.maxUnavailable and remove concurrency'],
    ],
    [
      'two ways to say how many may fail',
      upgrade({ image, stopOnFailure: false, strategy: { maxFailed: 3 } }),
      ['keep strategy.maxFailed', 'remove stopOnFailure'],
    ],
    ['more failures than there are', strategy({ maxFailed: '101%' }), ['maxFailed', 'from 0% to 100%']],
    [
      'a wave behind one that takes all',
      strategy({ waves: [{ name: 'all' }, { name: 'more', nodes: 1 }] }),
      ['waves', 'only the last one can be such'],
    ],
    ['two waves that take all', strategy({ waves: [{ name: 'a' }, { name: 'b' }] }), ['only the last one can be such']],
    [
      'the name of the last wave for another one',
      strategy({ waves: [{ name: 'workers', nodes: 2 }] }),
      ['workers is the wave of all nodes that no other takes'],
    ],
    ['a wave that is the control plane', strategy({ waves: [{ name: 'control-plane' }] }), ['take another one']],
    ['an empty wave', strategy({ waves: [{ name: 'a', nodes: 0 }] }), ['nodes', 'at least 1']],
    [
      'two waves of one name',
      strategy({ waves: [{ name: 'a', nodes: 1 }, { name: 'a' }] }),
      ['duplicate entries', 'name="a"'],
    ],
    ['a negative concurrency', upgrade({ image, concurrency: -1 }), ['concurrency', 'greater than or equal to 0']],
    ['nothing to do', upgrade({ image, upgradeActive: false }), ['set upgradeActive or upgradeRecovery to true']],
    ['a relative path', upgrade({ image, excludePaths: ['etc/issue'] }), ['excludePaths[0]', 'write absolute paths']],
    [
      'a selector value for Exists',
      upgrade({ image, nodeSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] } }),
      ['matchExpressions[0]', 'none for Exists and DoesNotExist'],
    ],
    [
      'an unknown selector operator',
      upgrade({ image, nodeSelector: { matchExpressions: [{ key: 'a', operator: 'Equals', values: ['b'] }] } }),
      ['operator', 'supported values: "In", "NotIn", "Exists", "DoesNotExist"'],
    ],
    [
      'a label key with a space',
      upgrade({ image, nodeSelector: { matchLabels: { 'my disk': 'ssd' } } }),
      ['matchLabels', 'write label keys such as disk'],
    ],
    [
      'a label value with a slash',
      upgrade({ image, nodeSelector: { matchLabels: { disk: 'a/b' } } }),
      ['matchLabels', 'a label value has letters'],
    ],
    ['a version without its image', node({ version: 'v4.0.3' }), ['name the image that carries that version']],
    ['a node image with a +', node({ image: `${image}+k3s1` }), ['spec.image', 'tags cannot hold +']],
  ])('refuses %s and says what to write', async (_, object, expected) => {
    const message = await refusal(object);
    for (const part of expected) expect(message).toContain(part);
  });

  it('prints the columns that a user looks for', async () => {
    await kubectl(['apply', '--server-side', '-k', SAMPLES]);
    await kubectl(['apply', '--server-side', '-f', join(SAMPLES, 'kairosnode-by-hand.yaml')]);
    expect(await kubectl(['get', 'nou', '-A', '-o', 'wide'])).toMatch(
      /^NAMESPACE +NAME +PHASE +DONE +FAILED +WAVE +ETA +VERSION +IMAGE +MESSAGE +AGE/,
    );
    expect(await kubectl(['get', 'kn'])).toMatch(/^NAME +VERSION +BOOT +STATE +STEP +TARGET +AGE/);
    expect(await kubectl(['get', 'kairos', '-A', '-o', 'name'])).toContain('nodeopupgrade.operator.kairos.io/');
  });

  it('explains every part of the spec', async () => {
    expect(await kubectl(['explain', 'nou.spec.strategy.soak'])).toContain('must stay Ready without a break');
  });
});
