/** One program of the toolchain: which pinned Go module builds it, and how it says its version. */
export interface PinnedTool {
  /** Folder under tools/toolchain. */
  readonly module: string;
  readonly package: string;
  /** Of the program, as the pinned module builds it. */
  readonly version: string;
  /** Go variables that the linker sets, without which the program does not know its version. */
  readonly linkerFlags: string;
  readonly versionCommand: readonly string[];
  /** The environment variable that names the binary. */
  readonly environment: string;
  /** Whether it lies in the folder that KUBEBUILDER_ASSETS names. */
  readonly kubebuilderAsset?: true;
}

export const TOOL_NAMES = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubectl',
  'kubelet',
  'kube-proxy',
  'kwok',
  'temporal',
  'temporal-ui',
  'helm',
] as const;

export type ToolName = (typeof TOOL_NAMES)[number];

const KUBERNETES = '1.36.3';
const TEMPORAL_CLI = '1.8.2';
const TEMPORAL_UI = '2.52.0';
const HELM = '3.22.0';

const componentBase = 'k8s.io/component-base/version';

function kubernetes(name: string, options: Partial<PinnedTool> = {}): PinnedTool {
  return {
    module: 'kubernetes',
    package: `k8s.io/kubernetes/cmd/${name}`,
    version: KUBERNETES,
    linkerFlags: [
      `-X ${componentBase}.gitVersion=v${KUBERNETES}`,
      `-X ${componentBase}.gitMajor=${KUBERNETES.split('.')[0]}`,
      `-X ${componentBase}.gitMinor=${KUBERNETES.split('.')[1]}`,
    ].join(' '),
    versionCommand: ['--version'],
    environment: `${name.toUpperCase().replaceAll('-', '_')}_PATH`,
    ...options,
  };
}

/** Versions repeat what the go.mod files pin; a test holds them together. */
export const PINNED: Readonly<Record<ToolName, PinnedTool>> = {
  etcd: {
    module: 'etcd',
    package: 'go.etcd.io/etcd/server/v3',
    version: '3.7.3',
    linkerFlags: '',
    versionCommand: ['--version'],
    environment: 'ETCD_PATH',
    kubebuilderAsset: true,
  },
  'kube-apiserver': kubernetes('kube-apiserver', { kubebuilderAsset: true }),
  'kube-controller-manager': kubernetes('kube-controller-manager'),
  'kube-scheduler': kubernetes('kube-scheduler'),
  kubectl: kubernetes('kubectl', { kubebuilderAsset: true, versionCommand: ['version', '--client'] }),
  kubelet: kubernetes('kubelet'),
  'kube-proxy': kubernetes('kube-proxy'),
  kwok: {
    module: 'kwok',
    package: 'sigs.k8s.io/kwok/cmd/kwok',
    version: '0.8.0',
    linkerFlags: '',
    versionCommand: ['--version'],
    environment: 'KWOK_PATH',
  },
  temporal: {
    module: 'temporal',
    package: 'github.com/temporalio/cli/cmd/temporal',
    version: TEMPORAL_CLI,
    linkerFlags: `-X github.com/temporalio/cli/internal/temporalcli.Version=${TEMPORAL_CLI}`,
    versionCommand: ['--version'],
    environment: 'TEMPORAL_CLI_PATH',
  },
  'temporal-ui': {
    module: 'temporal-ui',
    package: 'github.com/temporalio/ui-server/v2/cmd/server',
    version: TEMPORAL_UI,
    linkerFlags: '',
    versionCommand: ['--version'],
    environment: 'TEMPORAL_UI_PATH',
  },
  helm: {
    module: 'helm',
    package: 'helm.sh/helm/v3/cmd/helm',
    version: HELM,
    linkerFlags: `-X helm.sh/helm/v3/internal/version.version=v${HELM}`,
    versionCommand: ['version', '--short'],
    environment: 'HELM_PATH',
  },
};

export function isToolName(name: string): name is ToolName {
  return (TOOL_NAMES as readonly string[]).includes(name);
}
