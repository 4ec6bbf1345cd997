import { describe, expect, it } from '@jest/globals';
import { InstallerError, readImage, readImages } from '../../tools/installer.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('the images of the plain manifests', () => {
  it.each([
    ['kairos-operator:v1', 'kairos-operator', 'v1', ''],
    ['quay.io/kairos/operator:0.1.0', 'quay.io/kairos/operator', '0.1.0', ''],
    ['registry:5000/kairos/operator:v1', 'registry:5000/kairos/operator', 'v1', ''],
    [`registry:5000/operator@${DIGEST}`, 'registry:5000/operator', '', DIGEST],
    [`operator:v1@${DIGEST}`, 'operator', '', DIGEST],
  ])('are read: %s', (text, repository, tag, digest) => {
    expect(readImage('IMG', text)).toEqual({ repository, tag, digest });
  });

  it.each([
    'operator',
    'registry:5000/operator',
    'operator:',
    'https://quay.io/operator:v1',
    'operator@sha256:1',
    'a b:v1',
  ])('are refused where they are no name with a tag: %s', (text) => {
    expect(() => readImage('IMG', text)).toThrow(
      `IMG=${text} does not name an image with its tag: write IMG=REGISTRY/NAME:TAG`,
    );
  });

  it('of the agent is named after that of the operator, unless it is given', () => {
    const IMG = 'registry:5000/kairos-operator:v1';
    expect(readImages({ IMG }).agent).toEqual({
      repository: 'registry:5000/kairos-operator-agent',
      tag: 'v1',
      digest: '',
    });
    expect(readImages({ IMG, AGENT_IMG: 'agent:v2' }).agent).toEqual({ repository: 'agent', tag: 'v2', digest: '' });
  });

  it('are asked for', () => {
    expect(() => readImages({})).toThrow(/^IMG is not set: .* write IMG=REGISTRY\/kairos-operator:TAG/);
    expect(() => readImages({ IMG: `operator@${DIGEST}` })).toThrow(/by its digest: write AGENT_IMG=…, too/);
    expect(() => readImages({ IMG: 'operator:v1', AGENT_IMG: 'agent' })).toThrow(InstallerError);
  });
});
