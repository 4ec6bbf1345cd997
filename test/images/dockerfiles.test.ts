import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { dockerfileOf, IMAGES, ImageError } from '../../tools/images/context.ts';
import { sbomOf, type Sbom } from '../../tools/images/sbom.ts';
import { NODE_BASE } from '../../tools/images/stand-ins.ts';

const instructions = (image: (typeof IMAGES)[number]) =>
  readFileSync(dockerfileOf(image), 'utf8')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .trim()
    .split('\n');

describe.each(IMAGES)('the Dockerfile of the image %s', (image) => {
  const lines = instructions(image);

  it('names its base by digest, the one that tests stand in for and that both images have', () => {
    const [base = ''] = lines;
    expect(base).toMatch(/^ARG BASE=[\w./:-]+@sha256:[0-9a-f]{64}$/);
    expect(base).toContain(`BASE=${NODE_BASE.name}@`);
    expect(base).toBe(instructions('operator')[0]);
    expect(lines.filter((line) => line.startsWith('FROM '))).toEqual(['FROM ${BASE}']);
  });

  it('runs and downloads nothing', () => {
    expect(lines.filter((line) => /^(RUN|ADD|SHELL)\b/.test(line))).toEqual([]);
  });

  it('runs node as user 65532 in /app, whose files that user does not own', () => {
    expect(lines).toEqual(
      expect.arrayContaining(['USER 65532:65532', 'WORKDIR /app', 'ENTRYPOINT ["/nodejs/bin/node"]']),
    );
    const copies = lines.filter((line) => line.startsWith('COPY '));
    expect(copies).toHaveLength(1);
    expect(copies[0]).not.toContain('--chown');
  });
});

describe('the SBOM of an image', () => {
  const component = (name: string) => ({ 'bom-ref': name, name });
  const whole: Sbom = {
    bomFormat: 'CycloneDX',
    serialNumber: 'urn:uuid:1',
    metadata: { timestamp: 'now', component: component('kairos-operator@1.0.0') },
    components: ['a@1.0.0', 'b@1.0.0', 'jest@1.0.0'].map(component),
    dependencies: [
      { ref: 'kairos-operator@1.0.0', dependsOn: ['a@1.0.0', 'jest@1.0.0'] },
      { ref: 'a@1.0.0', dependsOn: ['b@1.0.0'] },
      { ref: 'b@1.0.0' },
      { ref: 'jest@1.0.0' },
    ],
  };

  it('lists what is in the image, and is the same each time', () => {
    const sbom = sbomOf('operator', whole, new Set(['a@1.0.0', 'b@1.0.0']));
    expect(sbom.components.map(({ name }) => name)).toEqual(['a@1.0.0', 'b@1.0.0']);
    expect(sbom.dependencies).toEqual([
      { ref: 'kairos-operator@1.0.0', dependsOn: ['a@1.0.0'] },
      { ref: 'a@1.0.0', dependsOn: ['b@1.0.0'] },
      { ref: 'b@1.0.0', dependsOn: [] },
    ]);
    expect(sbom).not.toHaveProperty('serialNumber');
    expect(sbom.metadata).toMatchObject({
      timestamp: '1970-01-01T00:00:00.000Z',
      component: { name: 'kairos-operator', type: 'application' },
    });
  });

  it('is of the image, not of the package', () => {
    expect(sbomOf('agent', whole, new Set()).metadata.component['name']).toBe('kairos-operator-agent');
  });

  it('is refused for a package that npm does not list', () => {
    expect(() => sbomOf('operator', whole, new Set(['c@1.0.0']))).toThrow(ImageError);
  });
});
