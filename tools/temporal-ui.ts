import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const MODULE = join(import.meta.dirname, 'toolchain', 'temporal-ui');

/**
 * The file from which the image of Temporal's UI takes its settings, a template of environment variables, out of the
 * module that `temporal-ui` is built from: the program reads it from `config/docker.yaml` and does not hold it.
 * Throws what `go mod download` says.
 */
export async function temporalUiSettings(): Promise<string> {
  const command = ['mod', 'download', '-json', 'github.com/temporalio/ui-server/v2'];
  const { stdout } = await promisify(execFile)('go', command, { cwd: MODULE });
  return join((JSON.parse(stdout) as { Dir: string }).Dir, 'config', 'docker.yaml');
}
