import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FILE_TIME, ImageError } from './context.ts';

const run = promisify(execFile);

export interface ImageBuild {
  readonly name: string;
  readonly dockerfile: string;
  readonly context: string;
  readonly buildArgs?: Readonly<Record<string, string>>;
}

/** A store of images that nobody else sees, and that goes with its folder. */
export class ImageStore implements AsyncDisposable {
  readonly #folder: string;
  /** An empty folder to prepare things in, which goes with the store. */
  readonly work: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.work = join(folder, 'work');
  }

  /**
   * Removes what killed builds left, too.
   * @param parent a folder on a disk with room for what is built in it
   */
  static async open(parent: string): Promise<ImageStore> {
    await mkdir(parent, { recursive: true });
    for (const name of await readdir(parent)) {
      const [, pid] = /^\.store-(\d+)-/.exec(name) ?? [];
      if (pid !== undefined && !existsSync(`/proc/${pid}`))
        await rm(join(parent, name), { recursive: true, force: true });
    }
    return new ImageStore(await mkdtemp(join(parent, `.store-${process.pid}-`)));
  }

  /** Builds an image from what is in the store and in the context, without the network. */
  async build({ name, dockerfile, context, buildArgs = {} }: ImageBuild): Promise<void> {
    const args = Object.entries(buildArgs).map(([key, value]) => `--build-arg=${key}=${value}`);
    const fixed = ['--pull-never', '--format=oci', `--timestamp=${FILE_TIME}`, '--identity-label=false', '--quiet'];
    await this.#buildah('build', ...fixed, ...args, `--tag=${name}`, `--file=${dockerfile}`, context);
  }

  /** Writes an image as one file that `docker load` and `ctr images import` take. */
  async export(name: string, file: string): Promise<void> {
    await rm(file, { force: true });
    await this.#buildah('push', '--quiet', name, `docker-archive:${file}:${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** vfs copies where overlay mounts: a build that is killed leaves a folder behind, and no mount. */
  async #buildah(command: string, ...args: string[]): Promise<void> {
    const store = [
      '--root',
      join(this.#folder, 'root'),
      '--runroot',
      join(this.#folder, 'run'),
      '--storage-driver=vfs',
    ];
    try {
      await run('buildah', [...store, command, ...args], { env: { ...process.env, TMPDIR: this.#folder } });
    } catch (error) {
      const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
      if (code === 'ENOENT')
        throw new ImageError('buildah is missing: install it (apt-get install buildah, dnf install buildah)');
      throw new ImageError(`buildah ${command} failed:\n${(stderr ?? message).trim()}`, { cause: error });
    }
  }
}
