import { z } from 'zod';
import { cel, duration, written } from './meta.ts';

const FIELD = '[0-9A-Za-z*,/#-]+';

const maintenanceWindow = z
  .object({
    cron: written(
      new RegExp(`^${FIELD}( ${FIELD}){4}$`),
      'write five fields with one space between them, minute hour day month weekday, such as "0 22 * * MON-FRI"',
    )
      .max(100)
      .describe(
        'When the window opens: minute, hour, day of the month, month and day of the week, such as "0 22 * * MON-FRI". TUE#2 is the second Tuesday of a month, TUE#L its last, L its last day.',
      ),
    duration: duration().describe(
      'How long it stays open, at most 168h, as time that passes, whatever the clocks of its time zone do meanwhile.',
    ),
    timeZone: written(
      /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/,
      'write the name of a time zone such as Europe/Berlin or UTC',
    )
      .max(64)
      .describe('The time zone of cron, by its name in the IANA database. Default UTC.')
      .optional(),
  })
  .meta(
    cel({
      rule: "duration(self.duration) > duration('0s') && duration(self.duration) <= duration('168h')",
      message: 'a window is open for more than 0s and at most 168h',
      fieldPath: '.duration',
    }),
  )
  .describe('A time in which nodes may be started.');

export const windows = z
  .array(maintenanceWindow)
  .min(1)
  .max(20)
  .describe(
    'When nodes may be started: while at least one of these windows is open. Nodes in hand are finished. Default: at any time.',
  );
