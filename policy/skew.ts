const minorOf = (version: string | undefined) => {
  const found = version === undefined ? null : /^v?1\.(\d+)/.exec(version);
  return found === null ? undefined : Number(found[1]);
};

/**
 * Why an image's Kubernetes does not fit the cluster, or undefined when it does (Kubernetes version skew policy: a
 * kubelet may not be newer than the API server, nor more than three minors older, two for kubelets before 1.28; a
 * control plane moves one minor at a time, all of its members within one minor of each other, and never back).
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
  const minors = controlPlane.map(minorOf).filter((minor) => minor !== undefined);
  if (role === 'worker') return workerRefusal(minors, wanted);
  const now = minorOf(node);
  if (now === undefined) return undefined;
  if (wanted < now)
    return `Kubernetes 1.${wanted} in the image is older than the node's 1.${now}: a control plane is never taken back`;
  const from = Math.min(now, ...minors);
  if (wanted <= from + 1) return undefined;
  return `Kubernetes 1.${wanted} in the image skips a minor after the control plane's 1.${from}: go through 1.${from + 1}`;
}

/**
 * Why a worker may not go before the control plane with this image, or undefined: the minor of Kubernetes must stay what
 * it is there, as a worker ahead of it is one too new for it, and one behind shows nothing.
 * @param controlPlane as for {@link skewRefusal}
 */
export function canaryRefusal(controlPlane: readonly string[], image: string | undefined): string | undefined {
  const wanted = minorOf(image);
  const other = controlPlane.map(minorOf).find((minor) => minor !== undefined && minor !== wanted);
  if (wanted === undefined || other === undefined) return undefined;
  return `Kubernetes 1.${wanted} in the image is not the control plane's 1.${other}: a worker may go before the control plane only where the minor stays: take strategy.controlPlane.canaryWorkerFirst out`;
}

function workerRefusal(controlPlane: readonly number[], wanted: number): string | undefined {
  if (controlPlane.length === 0) return undefined;
  const lowest = Math.min(...controlPlane);
  if (wanted > lowest) {
    return `Kubernetes 1.${wanted} in the image is newer than the control plane's 1.${lowest}: upgrade the control plane first`;
  }
  const oldest = Math.max(...controlPlane) - (wanted < 28 ? 2 : 3);
  if (wanted >= oldest) return undefined;
  return `Kubernetes 1.${wanted} in the image is too old for the control plane's 1.${Math.max(...controlPlane)}: take an image with 1.${oldest} or newer`;
}
