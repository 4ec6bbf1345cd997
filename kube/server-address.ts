import { KubeConfig } from '@kubernetes/client-node';

/** The address of the API server that the environment names, for messages. Reads no credentials, which may be broken. */
export function apiServerAddress(env: NodeJS.ProcessEnv = process.env): string {
  const { KUBECONFIG, KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (!KUBECONFIG && host) return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  try {
    const config = new KubeConfig();
    config.loadFromDefault();
    return config.getCurrentCluster()?.server ?? '(no server in the kubeconfig)';
  } catch {
    return '(the kubeconfig cannot be read)';
  }
}
