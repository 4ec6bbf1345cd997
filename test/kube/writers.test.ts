import { describe, expect, it } from '@jest/globals';
import { writersOf } from '../../kube/writers.ts';

const annotated = (manager: string, time: string, ...annotations: string[]) => ({
  manager,
  time,
  operation: 'Update',
  fieldsV1: {
    'f:metadata': { 'f:annotations': { '.': {}, ...Object.fromEntries(annotations.map((a) => [`f:${a}`, {}])) } },
  },
});

describe('who wrote an object', () => {
  it('is, for each annotation, the field manager that wrote it last', () => {
    expect(
      writersOf({
        managedFields: [
          annotated('ana', '2026-03-01T10:05:00Z', 'kairos.io/pause'),
          annotated('kubectl-annotate', '2026-03-01T10:00:00Z', 'kairos.io/pause', 'kairos.io/skip'),
        ],
      }),
    ).toEqual({ annotations: { 'kairos.io/pause': 'ana', 'kairos.io/skip': 'kubectl-annotate' } });
  });

  it('is, for the spec, who wrote that, and nobody who wrote a status', () => {
    expect(
      writersOf({
        managedFields: [
          { manager: 'argocd-controller', time: '2026-03-01T10:00:00Z', fieldsV1: { 'f:spec': { 'f:image': {} } } },
          {
            manager: 'kairos-rollout',
            time: '2026-03-01T11:00:00Z',
            subresource: 'status',
            fieldsV1: { 'f:status': {}, 'f:spec': {} },
          },
        ],
      }),
    ).toEqual({ spec: 'argocd-controller', annotations: {} });
  });

  it('is nobody where the API server does not say it', () => {
    expect(writersOf({})).toEqual({ annotations: {} });
    expect(writersOf({ managedFields: [{ fieldsV1: null }, { manager: 'a' }] })).toEqual({ annotations: {} });
  });
});
