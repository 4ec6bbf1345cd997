import { cp, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PINNED } from '../pinned.ts';
import { resolveTool } from '../resolve.ts';
import { temporalUiSettings } from '../temporal-ui.ts';
import type { ImageStore } from './buildah.ts';
import { layBusybox, layNodeRoot, layShellRoot, type User } from './roots.ts';

/** An image that tests build, since they must run where no registry can be reached. */
export interface StandIn {
  readonly name: string;
  /** Has a home folder of its own. */
  readonly user?: User;
  /** Fills the root file system. */
  readonly lay: (debian: string, root: string) => Promise<void>;
  /** The end of its Dockerfile. */
  readonly settings: readonly string[];
}

const NONROOT: User = { name: 'nonroot', id: 65_532 };
const TEMPORAL_USER: User = { name: 'temporal', id: 1000 };

/** For the base that the Dockerfiles name, which is in a registry: the same layout, with files of Debian and npm. */
export const NODE_BASE: StandIn = {
  name: 'gcr.io/distroless/nodejs24-debian13:nonroot',
  user: NONROOT,
  lay: (debian, root) => layNodeRoot(debian, root, NONROOT),
  settings: ['USER 65532', 'ENTRYPOINT ["/nodejs/bin/node"]'],
};

/** For Temporal's own image, which is in a registry: the real program, on busybox in place of Alpine. */
export const TEMPORAL: StandIn = {
  name: `docker.io/temporalio/temporal:${PINNED.temporal.version}`,
  user: TEMPORAL_USER,
  async lay(debian, root) {
    await layShellRoot(debian, root, TEMPORAL_USER);
    await mkdir(join(root, 'usr/local/bin'), { recursive: true });
    await cp(await resolveTool('temporal'), join(root, 'usr/local/bin/temporal'));
  },
  settings: ['USER temporal', 'ENTRYPOINT ["temporal"]'],
};

/**
 * For the next version of Temporal's image. Only one version of the program is pinned, so it is that one, which says
 * that it is another.
 */
export const TEMPORAL_NEXT: StandIn = {
  ...TEMPORAL,
  name: TEMPORAL.name.replace(/[^.]+$/, 'next'),
  async lay(debian, root) {
    await TEMPORAL.lay(debian, root);
    const own = join(root, 'usr/local/bin');
    await rename(join(own, 'temporal'), join(own, 'temporal-of-another-name'));
    const script = [
      '#!/bin/sh',
      '[ "${1:-}" != --version ] || { echo "temporal version 99.0.0 (Server 99.0.0, UI 99.0.0)"; exit 0; }',
      'exec /usr/local/bin/temporal-of-another-name "$@"',
    ];
    await writeFile(join(own, 'temporal'), `${script.join('\n')}\n`, { mode: 0o755 });
  },
};

/** For the image of Temporal's UI, which is in a registry: the real program with the settings of that image. */
export const TEMPORAL_UI: StandIn = {
  name: `docker.io/temporalio/ui:${PINNED['temporal-ui'].version}`,
  user: TEMPORAL_USER,
  async lay(debian, root) {
    await layShellRoot(debian, root, TEMPORAL_USER);
    const home = join(root, 'srv/ui-server');
    await mkdir(join(home, 'config'), { recursive: true });
    await cp(await resolveTool('temporal-ui'), join(home, 'ui-server'));
    await cp(await temporalUiSettings(), join(home, 'config', 'docker.yaml'));
  },
  settings: [
    'WORKDIR /srv/ui-server',
    'USER temporal',
    'ENTRYPOINT ["/srv/ui-server/ui-server", "--env", "docker", "start"]',
  ],
};

/** For the pause of Kubernetes, which is in a registry: a process that does nothing, so that a pod keeps its namespaces. */
export const PAUSE: StandIn = {
  name: 'pause:test',
  lay: layBusybox,
  settings: ['USER 65535:65535', 'ENTRYPOINT ["/usr/bin/busybox", "sleep", "2147483647"]'],
};

/** Builds a stand-in into the store. */
export async function buildStandIn(standIn: StandIn, debian: string, store: ImageStore): Promise<void> {
  const { name, user, lay, settings } = standIn;
  const { work } = store;
  const lines = ['FROM scratch', 'COPY root/ /'];
  await mkdir(join(work, 'root'), { recursive: true });
  await lay(debian, join(work, 'root'));
  if (user !== undefined) {
    await mkdir(join(work, 'home', user.name), { recursive: true });
    lines.push(`COPY --chown=${user.id}:${user.id} home/ /home/`);
  }
  const path = 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  await writeFile(join(work, 'Dockerfile'), `${[...lines, path, ...settings].join('\n')}\n`);
  await store.build({ name, dockerfile: join(work, 'Dockerfile'), context: work });
}
