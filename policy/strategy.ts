import type { Timing } from '../api/messages.ts';
import type { DrainSpec, HealthGateSpec, RolloutSpec, WaveSpec, WindowSpec } from '../api/rollout-spec.ts';
import type { HealthGate, NodeOpUpgradeSpec, Strategy } from '../api/types.ts';
import { parseDurationMs } from './duration.ts';
import type { SoakChecks } from './soak.ts';
import { mergeStrategy } from './strategy-defaults.ts';

/** Defaults of `spec.strategy`; the descriptions in the CRD name the same values. */
export const STRATEGY_DEFAULTS = {
  maxUnavailable: 1,
  soak: '30s',
  /** Of the wave of one worker that comes first where no waves are named. */
  canarySoak: '5m',
  soakMaxRestarts: 3,
  soakTimeout: '10m',
  prePullTimeout: '30m',
  prePullAhead: 2,
  drainTimeout: '15m',
  volumeDetachTimeout: '5m',
  rebootTimeout: '30m',
  gateTimeout: '1h',
  healthInterval: '10s',
} as const;

/** All defaults filled in; first those of this installation. `concurrency: 0` of the Go operator meant "all at once"; here it means the default of 1. */
export function resolveSpec(spec: NodeOpUpgradeSpec, defaults: Strategy = {}): RolloutSpec {
  const { nodeSelector, uncordonOnFailure } = spec;
  return {
    image: spec.image,
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    imagePullSecrets: (spec.imagePullSecrets ?? []).map((secret) => secret.name),
    stopOnFailure: spec.stopOnFailure ?? true,
    upgradeActive: spec.upgradeActive ?? true,
    upgradeRecovery: spec.upgradeRecovery ?? false,
    force: spec.force ?? false,
    debug: spec.debug ?? false,
    ...(uncordonOnFailure === undefined ? {} : { uncordonOnFailure }),
    excludePaths: spec.excludePaths ?? [],
    ...(spec.dryRun === true ? { dryRun: true as const } : {}),
    ...resolveStrategy({ ...spec, strategy: mergeStrategy(defaults, spec) }),
  };
}

function resolveStrategy({ strategy = {}, concurrency = 0 }: NodeOpUpgradeSpec) {
  const ms = (given: string | undefined, standard: string) => parseDurationMs(given ?? standard);
  const { maxUnavailable, soak, prePull = {}, drain = {}, reboot = {}, gateTimeout, allowMisfit } = strategy;
  return {
    maxUnavailable: maxUnavailable ?? (concurrency > 0 ? concurrency : STRATEGY_DEFAULTS.maxUnavailable),
    soakMs: ms(soak, STRATEGY_DEFAULTS.soak),
    soakChecks: resolveSoakChecks(strategy.soakChecks),
    prePullTimeoutMs: ms(prePull.timeout, STRATEGY_DEFAULTS.prePullTimeout),
    prePullAhead: prePull.ahead ?? STRATEGY_DEFAULTS.prePullAhead,
    ...(prePull.when === 'WindowOpen' ? { prePullWhen: prePull.when } : {}),
    drainTimeoutMs: ms(drain.timeout, STRATEGY_DEFAULTS.drainTimeout),
    deleteEmptyDirData: drain.deleteEmptyDirData ?? true,
    drain: resolveDrain(drain),
    rebootTimeoutMs: ms(reboot.timeout, STRATEGY_DEFAULTS.rebootTimeout),
    gateTimeoutMs: ms(gateTimeout, STRATEGY_DEFAULTS.gateTimeout),
    ...(strategy.controlPlane?.canaryWorkerFirst === true ? { canaryWorkerFirst: true as const } : {}),
    ...(strategy.newNodes === 'Upgrade' ? { newNodes: strategy.newNodes } : {}),
    ...(allowMisfit === undefined ? {} : { allowMisfit }),
    ...(strategy.waves === undefined ? {} : { waves: strategy.waves.map(resolveWave) }),
    ...(strategy.maxFailed === undefined ? {} : { maxFailed: strategy.maxFailed }),
    canarySoakMs: ms(undefined, STRATEGY_DEFAULTS.canarySoak),
    ...(strategy.healthGates === undefined ? {} : { healthGates: strategy.healthGates.map(resolveHealthGate) }),
    ...(strategy.windows === undefined ? {} : { windows: strategy.windows.map(resolveWindow) }),
  };
}

function resolveWave(wave: NonNullable<NonNullable<NodeOpUpgradeSpec['strategy']>['waves']>[number]): WaveSpec {
  const { name, nodes, nodeSelector, maxUnavailable, soak, approval, maxFailed } = wave;
  return {
    name,
    ...(nodes === undefined ? {} : { nodes }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
    ...(soak === undefined ? {} : { soakMs: parseDurationMs(soak) }),
    ...(approval === true ? { approval } : {}),
    ...(maxFailed === undefined ? {} : { maxFailed }),
  };
}

function resolveWindow({ cron, duration, timeZone }: NonNullable<Strategy['windows']>[number]): WindowSpec {
  return { cron, durationMs: parseDurationMs(duration), timeZone: timeZone ?? 'UTC' };
}

function resolveHealthGate({ timeout, interval, ...asked }: HealthGate): HealthGateSpec {
  return {
    ...asked,
    intervalMs: parseDurationMs(interval ?? STRATEGY_DEFAULTS.healthInterval),
    ...(timeout === undefined ? {} : { timeoutMs: parseDurationMs(timeout) }),
  };
}

function resolveDrain(drain: NonNullable<NonNullable<NodeOpUpgradeSpec['strategy']>['drain']>): DrainSpec {
  const { podSelector, gracePeriodSeconds = -1, waitForCompletion, skipWaitForDeleteTimeout, forceDeleteAfter } = drain;
  return {
    force: drain.force ?? false,
    volumeDetachMs: parseDurationMs(drain.volumeDetachTimeout ?? STRATEGY_DEFAULTS.volumeDetachTimeout),
    onTimeout: drain.onTimeout ?? 'Fail',
    overridableBudgets: drain.overridableBudgets ?? [],
    ...(gracePeriodSeconds < 0 ? {} : { gracePeriodSeconds }),
    ...(podSelector === undefined ? {} : { podSelector }),
    ...(skipWaitForDeleteTimeout === undefined
      ? {}
      : { skipWaitForDeleteMs: parseDurationMs(skipWaitForDeleteTimeout) }),
    ...(forceDeleteAfter === undefined ? {} : { forceDeleteAfterMs: parseDurationMs(forceDeleteAfter) }),
    ...(waitForCompletion === undefined
      ? {}
      : {
          completion: {
            timeoutMs: parseDurationMs(waitForCompletion.timeout),
            ...(waitForCompletion.podSelector === undefined ? {} : { podSelector: waitForCompletion.podSelector }),
          },
        }),
  };
}

/** What is asked of a node's pods during its soak; without an argument, the defaults. */
export function resolveSoakChecks(given: NonNullable<NodeOpUpgradeSpec['strategy']>['soakChecks'] = {}): SoakChecks {
  return {
    daemonSets: given.daemonSets ?? true,
    maxRestarts: given.maxRestarts ?? STRATEGY_DEFAULTS.soakMaxRestarts,
    timeoutMs: parseDurationMs(given.timeout ?? STRATEGY_DEFAULTS.soakTimeout),
    ...(given.ignorePods === undefined ? {} : { ignorePods: given.ignorePods }),
  };
}

/**
 * Deadlines of the engine for a rollout that has up to `inFlight` nodes in hand: 8 s for a call and 2 s to answer;
 * a heartbeat of 25 ms a node in flight, held to 3 to 30 s. Shorter workflow tasks repeat themselves on a busy
 * machine: 2 s made 394 of 400 nodes' tasks run again and recovery take 100 s instead of 36 s.
 */
export function timingFor(inFlight: number, searchAttributes: boolean): Timing {
  return {
    callMs: 10_000,
    waitAttemptMs: 24 * 3_600_000,
    heartbeatMs: Math.min(30_000, Math.max(3_000, 25 * inFlight)),
    retryInitialMs: 500,
    retryMaximumMs: 15_000,
    workflowTaskMs: 10_000,
    // A wave costs its rollout some 30 events, a server ends a workflow at 51,200 and loads all of them after a crash.
    continueAfterEvents: 1_000,
    searchAttributes,
  };
}
