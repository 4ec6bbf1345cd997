import { Connection } from '@temporalio/client';
import { openCluster } from '../process/api-server.ts';
import { readTemporalSettings } from '../process/temporal.ts';
import { check } from './check.ts';
import { readCheckSettings } from './settings.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);

/** One line for each part of an installation; ends with 1 where one does not work. `helm test` runs it. */
try {
  const settings = readCheckSettings(process.env, process.pid);
  const temporal = readTemporalSettings();
  const connection = Connection.lazy(temporal.connectionOptions);
  const answers = await check({ settings, client: openCluster(), temporal, connection });
  for (const { part, works, text } of answers) say(`${works ? 'works  ' : 'MISSING'}  ${part}: ${text}`);
  process.exit(answers.every(({ works }) => works) ? 0 : 1);
} catch (error) {
  say(`MISSING  settings: ${(error as Error).message}`);
  process.exit(1);
}
