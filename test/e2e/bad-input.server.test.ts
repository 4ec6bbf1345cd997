import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NEW, startStage, type Stage } from './stage.ts';

const UNKNOWN = 'quay.io/kairos/hadron:v9.9.9';

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 1 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const of = (more: string) => `{image: "${NEW}", ${more}}`;

/** What `kubectl apply` says to a NodeOpUpgrade with this spec. */
async function apply(name: string, spec: string): Promise<string> {
  const file = path.join(stage.folder, `${name}.yaml`);
  const head = 'apiVersion: operator.kairos.io/v1alpha1\nkind: NodeOpUpgrade\nmetadata:';
  writeFileSync(file, `${head} {name: ${name}, namespace: kairos-system}\nspec: ${spec}\n`);
  return await stage.kubectl('apply', '-f', file).catch((error: Error) => error.message);
}

describe('a NodeOpUpgrade', () => {
  it('to an image that no registry has ends at the first node, with what its kubelet says, and nothing is touched', async () => {
    const before = stage.cluster.recordings();
    stage.forgetTouched();
    await stage.upgrade('unknown-image', UNKNOWN, undefined, { strategy: { prePull: { timeout: '3s' } } });
    const status = await stage.ended('unknown-image');

    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { Failed: 1 } }, nodes: { failed: 1 } });
    const said = `image ${UNKNOWN} was not pulled on node cp-1 within 3s: `;
    expect(status.rollout?.message).toContain(`stopped: node cp-1 ended as Failed: ${said}`);
    expect(status.rollout?.message).toMatch(/: (ErrImagePull|ImagePullBackOff) \S.*the node was not touched/);
    expect(stage.touched).toEqual([]);
    expect(stage.cluster.recordings()).toEqual(before);
    await stage.cleanedUp();
  }, 60_000);

  it('that selects no node ends at once, and says what to compare', async () => {
    await stage.upgrade('nobody', NEW, ['worker-99']);
    expect(await stage.ended('nobody')).toMatchObject({
      phase: 'Failed',
      message: 'no node matches spec.nodeSelector: compare it with kubectl get nodes --show-labels',
      nodes: { summary: '0/0' },
    });
    expect(stage.touched).toEqual([]);
  }, 60_000);

  it.each([
    ['no image', '{}', /spec\.image: Required value/],
    ['an image with a space', '{image: "a b"}', /spec\.image: .*write an image reference such as /],
    ['an image that is a number', '{image: 5}', /spec\.image in body must be of type string/],
    [
      'a wrong duration',
      of('strategy: {soak: 2 weeks}'),
      /strategy\.soak: .*write a duration such as 30s, 15m or 1h30m/,
    ],
    [
      'a budget of nothing',
      of('strategy: {maxUnavailable: 0}'),
      /maxUnavailable: .*write a whole number of at least 1, or/,
    ],
    ['a budget of too much', of('strategy: {maxUnavailable: 150%}'), /maxUnavailable: .*a percentage from 1% to 100%/],
    ['a misspelt field', of('strategy: {maxUnavailabel: 1}'), /unknown field "spec\.strategy\.maxUnavailabel"/],
    ['a wrong operator', of('nodeSelector: {matchExpressions: [{key: a, operator: Is}]}'), /supported values: "In", /],
    [
      'an operator without values',
      of('nodeSelector: {matchExpressions: [{key: a, operator: In}]}'),
      /give at least one value/,
    ],
    ['a relative path', of('excludePaths: [etc]'), /excludePaths\[0\]: .*write absolute paths, such as \/etc\/issue/],
    ['nothing to do', of('upgradeActive: false'), /nothing to do: set upgradeActive or upgradeRecovery to true/],
  ])('with %s is refused at kubectl apply, by the name of the field', async (_, spec, expected) => {
    expect(await apply('malformed', spec)).toMatch(expected);
    expect(stage.status('malformed')).toBeUndefined();
  });
});
