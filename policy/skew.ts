const minorOf = (version: string | undefined) => {
  const found = version === undefined ? null : /^v?1\.(\d+)/.exec(version);
  return found === null ? undefined : Number(found[1]);
};

/**
 * Why an image's Kubernetes does not fit the cluster, or undefined when it does (Kubernetes version skew policy: a
 * kubelet may not be newer than the API server; a control plane moves one minor at a time and never back).
 * @param controlPlane kubelet versions of all control-plane nodes: the lowest of them is the API server's
 * @param node the version that the node runs now
 * @param image the distribution version read inside the image; undefined (a core image) is not judged
 */
export function skewRefusal(
  role: 'control-plane' | 'worker',
  controlPlane: readonly string[],
  node: string,
  image: string | undefined,
): string | undefined {
  const wanted = minorOf(image);
  if (wanted === undefined) return undefined;
  if (role === 'worker') {
    const lowest = Math.min(...controlPlane.map(minorOf).filter((minor) => minor !== undefined));
    if (!Number.isFinite(lowest) || wanted <= lowest) return undefined;
    return `Kubernetes 1.${wanted} in the image is newer than the control plane's 1.${lowest}: upgrade the control plane first`;
  }
  const now = minorOf(node);
  if (now === undefined || wanted === now || wanted === now + 1) return undefined;
  return wanted < now
    ? `Kubernetes 1.${wanted} in the image is older than the node's 1.${now}: a control plane is never taken back`
    : `Kubernetes 1.${wanted} in the image skips a minor after 1.${now}: go through 1.${now + 1}`;
}
