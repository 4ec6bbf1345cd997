import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { z } from 'zod';
import { nodeOpUpgradeSpec } from '../../api/schemas/node-op-upgrade.ts';
import type { NodeOpUpgradeSpec } from '../../api/types.ts';
import { STRATEGY_DEFAULTS, resolveSpec, timingFor } from '../../policy/strategy.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';

describe('a spec', () => {
  it('of an image alone gets the safe defaults', () => {
    expect(resolveSpec({ image: IMAGE })).toEqual({
      image: IMAGE,
      imagePullSecrets: [],
      maxUnavailable: 1,
      stopOnFailure: true,
      upgradeActive: true,
      upgradeRecovery: false,
      force: false,
      debug: false,
      excludePaths: [],
      soakMs: 30_000,
      soakChecks: { daemonSets: true, maxRestarts: 3, timeoutMs: 600_000 },
      prePullTimeoutMs: 1_800_000,
      prePullAhead: 2,
      drainTimeoutMs: 900_000,
      deleteEmptyDirData: true,
      drain: { force: false, volumeDetachMs: 300_000, onTimeout: 'Fail', overridableBudgets: [] },
      rebootTimeoutMs: 1_800_000,
      gateTimeoutMs: 3_600_000,
      canarySoakMs: 300_000,
    });
  });

  it('keeps everything that is said', () => {
    const spec: NodeOpUpgradeSpec = {
      image: IMAGE,
      nodeSelector: { matchLabels: { zone: 'a' } },
      imagePullSecrets: [{ name: 'pull' }],
      stopOnFailure: false,
      upgradeActive: false,
      upgradeRecovery: true,
      force: true,
      debug: true,
      uncordonOnFailure: false,
      excludePaths: ['/etc/issue'],
      strategy: {
        maxUnavailable: '25%',
        soak: '0s',
        soakChecks: {
          daemonSets: false,
          maxRestarts: 0,
          timeout: '90s',
          ignorePods: { matchLabels: { app: 'flaky' } },
        },
        prePull: { timeout: '2h', ahead: 7 },
        drain: {
          timeout: '1m',
          deleteEmptyDirData: false,
          force: true,
          gracePeriodSeconds: 0,
          podSelector: { matchLabels: { app: 'web' } },
          skipWaitForDeleteTimeout: '20s',
          volumeDetachTimeout: '0s',
          waitForCompletion: { podSelector: { matchLabels: { app: 'job' } }, timeout: '30s' },
          onTimeout: 'Delete',
          overridableBudgets: [{ namespace: 'db', name: 'pg' }],
          forceDeleteAfter: '10s',
        },
        reboot: { timeout: '1h30m' },
        gateTimeout: '10m',
        allowMisfit: ['Family'],
        maxFailed: '10%',
        waves: [
          { name: 'canary', nodes: '5%', soak: '1h', approval: true, maxFailed: 0 },
          { name: 'edge', nodeSelector: { matchLabels: { edge: 'yes' } }, maxUnavailable: '50%', approval: false },
        ],
      },
    };
    expect(resolveSpec(spec)).toEqual({
      image: IMAGE,
      nodeSelector: { matchLabels: { zone: 'a' } },
      imagePullSecrets: ['pull'],
      maxUnavailable: '25%',
      stopOnFailure: false,
      upgradeActive: false,
      upgradeRecovery: true,
      force: true,
      debug: true,
      uncordonOnFailure: false,
      excludePaths: ['/etc/issue'],
      soakMs: 0,
      soakChecks: {
        daemonSets: false,
        maxRestarts: 0,
        timeoutMs: 90_000,
        ignorePods: { matchLabels: { app: 'flaky' } },
      },
      prePullTimeoutMs: 7_200_000,
      prePullAhead: 7,
      drainTimeoutMs: 60_000,
      deleteEmptyDirData: false,
      drain: {
        force: true,
        gracePeriodSeconds: 0,
        podSelector: { matchLabels: { app: 'web' } },
        skipWaitForDeleteMs: 20_000,
        volumeDetachMs: 0,
        completion: { podSelector: { matchLabels: { app: 'job' } }, timeoutMs: 30_000 },
        onTimeout: 'Delete',
        overridableBudgets: [{ namespace: 'db', name: 'pg' }],
        forceDeleteAfterMs: 10_000,
      },
      rebootTimeoutMs: 5_400_000,
      gateTimeoutMs: 600_000,
      allowMisfit: ['Family'],
      maxFailed: '10%',
      waves: [
        { name: 'canary', nodes: '5%', soakMs: 3_600_000, approval: true, maxFailed: 0 },
        { name: 'edge', nodeSelector: { matchLabels: { edge: 'yes' } }, maxUnavailable: '50%' },
      ],
      canarySoakMs: 300_000,
    });
  });

  it('with a grace period of -1 leaves each pod its own', () => {
    expect(resolveSpec({ image: IMAGE, strategy: { drain: { gracePeriodSeconds: -1 } } }).drain).not.toHaveProperty(
      'gracePeriodSeconds',
    );
  });

  it.each<[string, Partial<NodeOpUpgradeSpec>, number | string]>([
    ['concurrency is the older name', { concurrency: 3 }, 3],
    ['concurrency 0 is not "all at once"', { concurrency: 0 }, 1],
    ['the newer name wins', { concurrency: 3, strategy: { maxUnavailable: 2 } }, 2],
    ['concurrency 0 beside the newer name', { concurrency: 0, strategy: { maxUnavailable: '10%' } }, '10%'],
    ['another part of the strategy changes nothing', { concurrency: 4, strategy: { soak: '1m' } }, 4],
  ])('names its budget: %s', (_, spec, expected) => {
    expect(resolveSpec({ image: IMAGE, ...spec }).maxUnavailable).toBe(expected);
  });

  it('that the resource would refuse ends with a text that says what to write', () => {
    expect(() => resolveSpec({ image: IMAGE, strategy: { soak: '5 minutes' } })).toThrow(/"5 minutes": write hours/);
  });

  it('has the defaults that kubectl explain tells', () => {
    const strategy = z.toJSONSchema(nodeOpUpgradeSpec.shape.strategy, { unrepresentable: 'any' });
    const told = [...JSON.stringify(strategy).matchAll(/Default ([0-9]+[hms]?)[.;]/g)].map(([, value]) => value);
    expect(told).toHaveLength(Object.keys(STRATEGY_DEFAULTS).length);
    expect(new Set(told)).toEqual(new Set(Object.values(STRATEGY_DEFAULTS).map(String)));
  });
});

describe('the deadlines of the engine', () => {
  it.each([
    [0, 3_000],
    [100, 3_000],
    [400, 10_000],
    [5_000, 30_000],
  ])('with %i nodes in flight have a heartbeat of %i ms', (inFlight, heartbeatMs) => {
    expect(timingFor(inFlight, true).heartbeatMs).toBe(heartbeatMs);
  });

  it('fit into each other, whatever the number of nodes', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.boolean(), (inFlight, searchAttributes) => {
        const timing = timingFor(inFlight, searchAttributes);
        expect(timing.heartbeatMs).toBeGreaterThanOrEqual(3_000);
        expect(timing.heartbeatMs).toBeLessThanOrEqual(30_000);
        expect(timing.retryInitialMs).toBeLessThan(timing.retryMaximumMs);
        expect(timing.waitAttemptMs).toBeGreaterThan(timing.callMs);
        expect(timing.searchAttributes).toBe(searchAttributes);
      }),
    );
  });
});
