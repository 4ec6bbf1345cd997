import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startStage, type Stage } from '../e2e/stage.ts';
import { ALL_EVENTS, STEP_NAMES, type Event } from './events.ts';
import { EXPECTED } from './expected.ts';
import { startHoldingProxy, type HoldingProxy } from './holding-proxy.ts';
import { runColumn, type Column } from './matrix.ts';
import { BAD_IMAGE } from './steps.ts';
import { columnText } from './table.ts';

/** `EVENTS=success,cancel` shows some of the columns; without it all are shown. */
const asked = (process.env['EVENTS'] ?? ALL_EVENTS.join(',')).split(',').filter((name) => name !== '');
const unknown = asked.filter((name) => !(ALL_EVENTS as string[]).includes(name));
if (unknown.length > 0) throw new Error(`EVENTS=${unknown.join(',')}: there are ${ALL_EVENTS.join(',')}`);

let stage: Stage;
let proxy: HoldingProxy;

beforeAll(async () => {
  stage = await startStage({
    controlPlaneNodes: 1,
    workerNodes: 1,
    outliveApiServer: true,
    images: [BAD_IMAGE],
    workerThrough: async (folder, controlPlane) => (proxy = await startHoldingProxy(folder, controlPlane)),
  });
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

describe.each(asked as Event[])('%s', (event) => {
  let column: Column;
  beforeAll(async () => {
    column = await runColumn({ stage, proxy }, event);
    process.stdout.write(columnText(event, column));
  }, 500_000);

  it.each(STEP_NAMES)('at %s', (step) => {
    expect(column[step]).toEqual({ outcome: EXPECTED[event][step], writtenTwice: [] });
  });
});
