import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';

/** Programs that the rig takes from the machine, and the Debian packages that hold them. */
const PROGRAMS: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  buildah: 'buildah',
  debootstrap: 'debootstrap',
  nft: 'nftables',
  iptables: 'iptables',
  conntrack: 'conntrack',
  'grub-editenv': 'grub-common',
  openssl: 'openssl',
  ip: 'iproute2',
  prometheus: 'prometheus',
  sysctl: 'procps',
  unshare: 'util-linux',
  perl: 'perl-base',
};
/** Debian packages whose programs a minimal Debian lacks; what CI installs. */
export const PACKAGES: readonly string[] = [...new Set([...Object.values(PROGRAMS), 'containernetworking-plugins'])]
  .filter((name) => !['perl-base', 'util-linux'].includes(name))
  .toSorted();
const CNI_PLUGINS = '/usr/lib/cni/bridge';
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/**
 * What this machine lacks for real nodes, one sentence each with what to do; empty when they can run here.
 * Nothing is changed by asking.
 */
export function missingRequirements(): string[] {
  const folders = [...SYSTEM_FOLDERS, ...(process.env['PATH'] ?? '').split(path.delimiter)];
  const packages = Object.entries(PROGRAMS)
    .filter(([program]) => !folders.some((folder) => isExecutable(path.join(folder, program))))
    .map(([, name]) => name);
  if (!existsSync(CNI_PLUGINS)) packages.push('containernetworking-plugins');
  const wanted = [...new Set(packages)].toSorted().join(' ');
  return [
    process.platform === 'linux' ? '' : `real nodes need Linux, and this is ${process.platform}`,
    process.getuid?.() === 0 ? '' : 'real nodes need root: namespaces, mounts and cgroups are made; run it with sudo',
    wanted === '' ? '' : `missing here: ${wanted}; on Debian: apt-get install --no-install-recommends ${wanted}`,
  ].filter((text) => text !== '');
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
