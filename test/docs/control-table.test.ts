import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { documentText, tableRows } from './documents.ts';

const CONTROL = 'test/e2e/control.server.test.ts';
const PAUSE = 'test/e2e/pause.server.test.ts';
const HELD = 'test/e2e/held.server.test.ts';
const CANCEL = 'test/e2e/cancel.server.test.ts';
const TERMINATE = 'test/e2e/terminate.server.test.ts';
const ROLLOUT = 'test/workflows/rollout.server.test.ts';
const REQUESTS = 'test/e2e/requests.server.test.ts';
const ON_A_CLOCK = 'test/workflows/control.test.ts';
const DATABASE = 'test/e2e/database.server.test.ts';
const APPROVALS = 'test/workflows/approvals.test.ts';
const SKIPS = 'test/workflows/skips.test.ts';
const RETRIES = 'test/workflows/retries.test.ts';
const STEERING = 'test/docs/steering.test.ts';

type Shown = [file: string, ...titles: string[]];

const WAVE_PAST: Shown = [
  CONTROL,
  'takes that node to its verdict when its wave is cancelled, touches no other, and names the wave',
];
const PAUSED: Shown = [
  ROLLOUT,
  'starts nothing new while paused, finishes what it has in hand, and goes on when resumed',
];
const EDIT_BEFORE = 'is cancelled by an edit, and starts anew with the new spec';
const EDIT_PAST = 'takes that node to its verdict when it is edited, and starts anew after that';
const NODE_BEFORE = 'goes on with the others when that node is cancelled, and ends as Failed, naming it';
const NODE_PAST = 'goes on when that node is cancelled, as if nothing had happened';

/** What shows each cell of the table that says something: not started, before the point of no return, past it, after. */
const SHOWN: Record<string, (Shown[] | undefined)[]> = {
  pause: [
    [[PAUSE, 'that is there from the beginning starts no node and no pull'], PAUSED],
    [
      [PAUSE, 'is set while there is no watcher: the next one pauses, and the node in hand is finished'],
      [
        ON_A_CLOCK,
        'takes back a node that is marked and not cordoned, and starts it again after it',
        'takes back a node whose gates are being asked',
        'never holds a node that is cordoned',
      ],
    ],
    [PAUSED],
    [
      [
        CONTROL,
        'is paused and resumed by an update, which answers when it is done',
        'is paused by its annotation, and resumed by taking that away and by nothing else',
      ],
      [PAUSE, 'while the rollout is paused may wait for longer than its gate is open'],
      [STEERING, 'may be closed for longer where there is a pause in that time'],
    ],
  ],
  resume: [
    [[PAUSE, 'is taken away while there is no watcher: the next one resumes'], PAUSED],
    [[CONTROL, 'is paused and resumed by a signal']],
    [PAUSED],
    [
      [
        CONTROL,
        'is paused and resumed by an update, which answers when it is done',
        'is paused and resumed by a signal',
      ],
    ],
  ],
  approve: [
    [[APPROVALS, 'waits for days, says what to type, and starts when it is approved; that is noted']],
    undefined,
    undefined,
    [
      [
        APPROVALS,
        'waits for days, says what to type, and starts when it is approved; that is noted',
        'may be approved ahead of its turn, also while it is planned',
      ],
      [REQUESTS, 'is refused an approval that no wave needs, and says so'],
      [
        DATABASE,
        'whose database is lost while two nodes are in hand starts empty, and the rollout completes as it was approved',
      ],
    ],
  ],
  skip: [
    [
      [REQUESTS, 'leaves a node out that was not started'],
      [SKIPS, 'before its wave begins, is not touched, and is no failure'],
    ],
    [
      [REQUESTS, 'leaves a node out that is being drained, and gives it back'],
      [
        SKIPS,
        'while it waits at a gate, waits no longer',
        'at any moment is either left out or upgraded, and the answer says which',
      ],
    ],
    [
      [REQUESTS, 'is refused to leave a node out whose image is being written'],
      [SKIPS, 'is refused from the point of no return on, as in %s, at once'],
    ],
    [[REQUESTS, 'completes without the node that was left out, and with the one that was tried again']],
  ],
  'retry of a node, retry of all failed ones': [
    [[RETRIES, 'is refused where it cannot be: %j']],
    [[RETRIES, 'is refused where it cannot be: %j']],
    [[RETRIES, 'is refused where it is past the point of no return, too']],
    [
      [REQUESTS, 'completes without the node that was left out, and with the one that was tried again'],
      [
        RETRIES,
        'in the wave that runs, comes after that wave, as another try',
        'may be one that was left out',
        'is refused where the wave has stopped, with what that means',
      ],
      [REQUESTS, 'is ended by an abort, which gives the node back, and says who and why'],
    ],
  ],
  abort: [
    [[ON_A_CLOCK, 'gives back what it can, takes the rest to its verdict, and says by whom and why']],
    [
      [REQUESTS, 'is ended by an abort, which gives the node back, and says who and why'],
      [ON_A_CLOCK, 'at any moment ends as Cancelled, or as it had ended, with nothing left cordoned'],
    ],
    [[ON_A_CLOCK, 'gives back what it can, takes the rest to its verdict, and says by whom and why']],
    [
      [
        REQUESTS,
        'is ended by an abort, which gives the node back, and says who and why',
        'starts anew at a retry, whatever was asked of it before',
      ],
    ],
  ],
  'cancel of the rollout, delete': [
    [[CANCEL, 'puts the node back that it was draining, when its workflow is cancelled']],
    [
      [
        CANCEL,
        'puts the node back that it was draining, when its workflow is cancelled',
        'puts the node back that it was draining, when its NodeOpUpgrade is deleted',
      ],
      [CONTROL, 'ends as Cancelled when it is cancelled'],
    ],
    [[CANCEL, 'takes that node to its verdict, touches no other, and leaves nothing cordoned']],
    [
      [ROLLOUT, 'takes a node whose image is being written to its verdict, and keeps it'],
      [CONTROL, 'ends as Cancelled when it is cancelled'],
    ],
  ],
  'edit of the spec': [
    [[CONTROL, EDIT_BEFORE]],
    [[CONTROL, EDIT_BEFORE]],
    [[CONTROL, EDIT_PAST]],
    [[CONTROL, EDIT_BEFORE, EDIT_PAST]],
  ],
  'cancel of a wave': [
    [WAVE_PAST],
    [[CONTROL, 'ends as Failed and names the wave that is cancelled']],
    [WAVE_PAST],
    [[CONTROL, 'ends as Failed and names the wave that is cancelled'], WAVE_PAST],
  ],
  'cancel of a node': [
    undefined,
    [[CONTROL, NODE_BEFORE]],
    [[CONTROL, NODE_PAST]],
    [
      [CONTROL, NODE_BEFORE, NODE_PAST],
      [STEERING, 'before the point of no return, of the control plane, stops the rollout'],
    ],
  ],
  'terminate of the rollout': [
    [[CONTROL, 'is Failed: Terminated when it is terminated, and its node is given back']],
    [
      [CONTROL, 'is Failed: Terminated when it is terminated, and its node is given back'],
      [TERMINATE, 'of a rollout: the node goes back to service, and a retry takes it up again'],
    ],
    [[HELD, 'or is written to when its rollout is terminated, is taken to its verdict']],
    [[HELD, 'or is written to when its rollout is terminated, is taken to its verdict']],
  ],
  'terminate of a wave': [
    [[TERMINATE, 'of a wave: its nodes are taken to their verdicts, and the rollout stops and says so']],
    [[CONTROL, 'ends as Failed and names the wave that is terminated, when none of its nodes is in hand']],
    [[TERMINATE, 'of a wave: its nodes are taken to their verdicts, and the rollout stops and says so']],
    [[TERMINATE, 'of a wave: its nodes are taken to their verdicts, and the rollout stops and says so']],
  ],
  'terminate of a node': [
    undefined,
    [[TERMINATE, 'of a node: the node goes back to service, the others go on, and the rollout names it']],
    [[TERMINATE, 'of a node: the node is taken to its verdict, and nothing is written twice']],
    [
      [
        TERMINATE,
        'of a node: the node goes back to service, the others go on, and the rollout names it',
        'of a node: the node is taken to its verdict, and nothing is written twice',
      ],
    ],
  ],
  'retry of a rollout that has ended': [
    [[CONTROL, 'takes up at a retry what is not on the target, and leaves the rest alone']],
    undefined,
    undefined,
    [
      [CONTROL, 'takes up at a retry what is not on the target, and leaves the rest alone'],
      [HELD, 'since its image could not be written, is rebooted before a retry writes again'],
    ],
  ],
  'retry of a rollout that runs': [
    undefined,
    undefined,
    undefined,
    [[PAUSE, 'on a rollout that has not ended asks for nothing before its end, and for one attempt then']],
  ],
};

describe('what docs/control.md says that each does', () => {
  const [rows = []] = tableRows(documentText('docs/control.md', 'What each does'));

  it('has an entry for each row, and a row for each entry', () => {
    expect(rows.map(([asked]) => asked)).toEqual(Object.keys(SHOWN));
  });

  it.each(rows.map(([asked = '', ...cells]) => ({ asked, cells })))('$asked', ({ asked, cells }) => {
    expect(SHOWN[asked]?.map((shown) => shown !== undefined)).toEqual(cells.map((cell) => cell !== ''));
    for (const [file, ...titles] of (SHOWN[asked] ?? []).flatMap((shown) => shown ?? [])) {
      const source = readFileSync(file, 'utf8');
      for (const title of titles) expect(source).toContain(`'${title}'`);
    }
  });
});
